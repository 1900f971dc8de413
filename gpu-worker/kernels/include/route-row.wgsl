// The choice of one row's experts by a workgroup: route.wgsl says what. Works on its bindings and parameters.
override LANES: u32;
override EXPERTS: u32;
override GROUPS: u32;
override TOP: u32;

const LOWEST = -3.4028234e38;

var<workgroup> probability: array<f32, EXPERTS>;
var<workgroup> choice: array<f32, EXPERTS>;
var<workgroup> group_score: array<f32, GROUPS>;
var<workgroup> kept: array<u32, GROUPS>;
var<workgroup> top_probability: array<f32, TOP>;

// By all lanes of the workgroup; a second row needs a barrier before it.
fn route_row(row: u32, lane: u32) {
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
