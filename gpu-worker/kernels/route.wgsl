// Group-limited routing of one row:
//
//   p_e = sigmoid(logit_e);  c_e = p_e + bias_e;  group score = sum of the two highest c of the group
//   keep the GROUPS_KEPT best groups, then the TOP best c among them (equal: the lower number first), in rank order
//   weight = p (without bias) [/ (Σ p + 1e-20) when NORMALISE] · SCALING
//
//   logits   f32 [rows, X_STRIDE], read: EXPERTS values from X_OFFSET
//   bias     f32 [EXPERTS], read: zeros when the model has none
//   chosen   u32 [rows, PAIRS], write: expert numbers, highest c first; with a shared expert PAIRS is TOP + 1, and the
//            last is that one's number, EXPERTS
//   weights  f32 [rows, PAIRS], write: a shared expert's is 1
//
// One workgroup: one row; its lanes, as many as the adapter likes, stride over experts and groups; ranks are counted, not sorted, so no order of lanes
// enters. A NaN counts as −∞, so expert numbers stay in range. Grid: x = rows.
// Rounds: sigmoid (exp.wgsl), p + bias, each sum (in rank order), quotient, product.
override LANES: u32;
override EXPERTS: u32;
override GROUPS: u32;
override TOP: u32;

const LOWEST = -3.4028234e38;

struct Params {
  PAIRS: u32,
  GROUPS_KEPT: u32,
  X_STRIDE: u32,
  X_OFFSET: u32,
  NORMALISE: u32,
  SCALING: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> probability: array<f32, EXPERTS>;
var<workgroup> choice: array<f32, EXPERTS>;
var<workgroup> group_score: array<f32, GROUPS>;
var<workgroup> kept: array<u32, GROUPS>;
var<workgroup> top_probability: array<f32, TOP>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.x;
  for (var e = lane; e < EXPERTS; e += LANES) {
    let p = sigmoid(logits[row * params.X_STRIDE + params.X_OFFSET + e]);
    let c = p + bias[e];
    probability[e] = p;
    choice[e] = select(c, LOWEST, is_nan(c));
  }
  workgroupBarrier();
  for (var g = lane; g < GROUPS; g += LANES) {
    group_score[g] = best_two(g);
  }
  workgroupBarrier();
  for (var g = lane; g < GROUPS; g += LANES) {
    var rank = 0u;
    for (var other = 0u; other < GROUPS; other += 1u) {
      rank += u32(goes_before(group_score[other], other, group_score[g], g));
    }
    kept[g] = u32(rank < params.GROUPS_KEPT);
  }
  workgroupBarrier();
  let per_group = EXPERTS / GROUPS;
  for (var e = lane; e < EXPERTS; e += LANES) {
    if (kept[e / per_group] == 0u) {
      continue;
    }
    var rank = 0u;
    for (var g = 0u; g < GROUPS; g += 1u) {
      if (kept[g] == 0u) {
        continue;
      }
      for (var other = g * per_group; other < (g + 1u) * per_group; other += 1u) {
        rank += u32(goes_before(choice[other], other, choice[e], e));
      }
    }
    if (rank < TOP) {
      chosen[row * params.PAIRS + rank] = e;
      top_probability[rank] = probability[e];
    }
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var rank = 0u; rank < TOP; rank += 1u) {
    sum += top_probability[rank];
  }
  for (var rank = lane; rank < TOP; rank += LANES) {
    var weight = top_probability[rank];
    if (params.NORMALISE != 0u) {
      weight = weight / (sum + 1e-20);
    }
    weights[row * params.PAIRS + rank] = weight * params.SCALING;
  }
  if (lane == 0u && params.PAIRS > TOP) {
    chosen[row * params.PAIRS + TOP] = EXPERTS;
    weights[row * params.PAIRS + TOP] = 1.0;
  }
}

// Total order: higher first, among equals the lower number.
fn goes_before(a: f32, a_number: u32, b: f32, b_number: u32) -> bool {
  return a > b || (a == b && a_number < b_number);
}

fn best_two(g: u32) -> f32 {
  let per_group = EXPERTS / GROUPS;
  var first = LOWEST;
  var second = LOWEST;
  for (var i = 0u; i < per_group; i += 1u) {
    let c = choice[g * per_group + i];
    if (c > first) {
      second = first;
      first = c;
    } else if (c > second) {
      second = c;
    }
  }
  if (per_group == 1u) {
    return first;
  }
  return first + second;
}
