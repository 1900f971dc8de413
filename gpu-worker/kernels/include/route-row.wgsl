// The choice of experts of up to ROWS rows by a workgroup: route.wgsl says what. Works on its bindings and parameters.
override LANES: u32;
override ROWS: u32;
override EXPERTS: u32;
override GROUPS: u32;
override TOP: u32;

const LOWEST = -3.4028234e38;

var<workgroup> choice: array<f32, ROWS * EXPERTS>;
var<workgroup> group_score: array<f32, ROWS * GROUPS>;
// The row's groups, best first.
var<workgroup> ranked_groups: array<u32, ROWS * GROUPS>;
var<workgroup> top_probability: array<f32, ROWS * TOP>;

// By all lanes of the workgroup; another use needs a barrier before it.
fn route_rows(first: u32, count: u32, lane: u32) {
  for (var i = lane; i < count * EXPERTS; i += LANES) {
    let c = probability(first + i / EXPERTS, i % EXPERTS) + bias[i % EXPERTS];
    choice[i] = select(c, LOWEST, is_nan(c));
  }
  workgroupBarrier();
  for (var i = lane; i < count * GROUPS; i += LANES) {
    group_score[i] = best_two(i * (EXPERTS / GROUPS));
  }
  workgroupBarrier();
  for (var i = lane; i < count * GROUPS; i += LANES) {
    let row = i / GROUPS * GROUPS;
    ranked_groups[row + group_rank(row, i)] = i - row;
  }
  workgroupBarrier();
  let per_group = EXPERTS / GROUPS;
  let kept = params.GROUPS_KEPT * per_group;
  for (var i = lane; i < count * kept; i += LANES) {
    let row = i / kept;
    let e = ranked_groups[row * GROUPS + i % kept / per_group] * per_group + i % per_group;
    let rank = expert_rank(row, e);
    if (rank < TOP) {
      chosen[(first + row) * params.PAIRS + rank] = e;
      top_probability[row * TOP + rank] = probability(first + row, e);
    }
  }
  workgroupBarrier();
  for (var i = lane; i < count * params.PAIRS; i += LANES) {
    let row = i / params.PAIRS;
    let rank = i % params.PAIRS;
    if (rank < TOP) {
      weights[first * params.PAIRS + i] = weight_of(row * TOP, rank);
    } else {
      chosen[first * params.PAIRS + i] = EXPERTS;
      weights[first * params.PAIRS + i] = 1.0;
    }
  }
}

fn probability(row: u32, e: u32) -> f32 {
  return sigmoid(logits[row * params.X_STRIDE + params.X_OFFSET + e]);
}

fn best_two(start: u32) -> f32 {
  let per_group = EXPERTS / GROUPS;
  var first = LOWEST;
  var second = LOWEST;
  for (var i = 0u; i < per_group; i += 1u) {
    let c = choice[start + i];
    second = max(second, min(first, c));
    first = max(first, c);
  }
  return select(first + second, first, per_group == 1u);
}

// Of one of the groups from `row` on, among them.
fn group_rank(row: u32, group: u32) -> u32 {
  var rank = 0u;
  for (var other = row; other < row + GROUPS; other += 1u) {
    rank += u32(goes_before(group_score[other], other, group_score[group], group));
  }
  return rank;
}

// Among the experts of the row's kept groups.
fn expert_rank(row: u32, e: u32) -> u32 {
  let per_group = EXPERTS / GROUPS;
  let mine = row * EXPERTS + e;
  let own = choice[mine];
  var rank = 0u;
  for (var i = 0u; i < params.GROUPS_KEPT; i += 1u) {
    let start = row * EXPERTS + ranked_groups[row * GROUPS + i] * per_group;
    for (var other = start; other < start + per_group; other += 1u) {
      rank += u32(goes_before(choice[other], other, own, mine));
    }
  }
  return rank;
}

// Total order: higher first, among equals the lower number.
fn goes_before(a: f32, a_number: u32, b: f32, b_number: u32) -> bool {
  return a > b || (a == b && a_number < b_number);
}

// Of the expert at `rank` of those from `top` on.
fn weight_of(top: u32, rank: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < TOP; i += 1u) {
    sum += top_probability[top + i];
  }
  let p = top_probability[top + rank];
  return select(p, p / (sum + 1e-20), params.NORMALISE != 0u) * params.SCALING;
}
