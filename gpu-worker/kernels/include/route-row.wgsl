// The choice of experts of up to ROWS rows by a workgroup: route.wgsl says what. Works on its bindings and parameters.
override LANES: u32;
override ROWS: u32;
override EXPERTS: u32;
override GROUPS: u32;
override TOP: u32;

// What a NaN counts as; and what stands behind a group's last, below all experts.
const LOWEST = -3.0e38;
const NOBODY = -3.4e38;

// By groups, each in whole vectors.
var<workgroup> choice: array<vec4<f32>, ROWS * GROUPS * ((EXPERTS / GROUPS + 3u) / 4u)>;
var<workgroup> group_score: array<f32, ROWS * GROUPS>;
// The row's groups, best first.
var<workgroup> ranked_groups: array<u32, ROWS * GROUPS>;
var<workgroup> top_probability: array<f32, ROWS * TOP>;

// By all lanes of the workgroup; another use needs a barrier before it.
fn route_rows(first: u32, count: u32, lane: u32) {
  let per_group = EXPERTS / GROUPS;
  let vectors = (per_group + 3u) / 4u;
  for (var i = lane; i < count * GROUPS * vectors; i += LANES) {
    choice[i] = choices_of(first + i / (GROUPS * vectors), i / vectors % GROUPS, i % vectors);
  }
  workgroupBarrier();
  for (var i = lane; i < count * GROUPS; i += LANES) {
    group_score[i] = best_two(i * vectors);
  }
  workgroupBarrier();
  for (var i = lane; i < count * GROUPS; i += LANES) {
    let row = i / GROUPS * GROUPS;
    ranked_groups[row + group_rank(row, i)] = i - row;
  }
  workgroupBarrier();
  let kept = params.GROUPS_KEPT * per_group;
  for (var i = lane; i < count * kept; i += LANES) {
    let row = i / kept;
    let group = ranked_groups[row * GROUPS + i % kept / per_group];
    let e = group * per_group + i % per_group;
    let rank = expert_rank(row, group, i % per_group);
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

// Four of a group, from its member 4 · vector on.
fn choices_of(row: u32, group: u32, vector: u32) -> vec4<f32> {
  let per_group = EXPERTS / GROUPS;
  var own = vec4<f32>(NOBODY);
  for (var i = 0u; i < min(4u, per_group - 4u * vector); i += 1u) {
    let e = group * per_group + 4u * vector + i;
    let c = probability(row, e) + bias[e];
    own[i] = select(max(c, LOWEST), LOWEST, is_nan(c));
  }
  return own;
}

// Of the group whose choices stand from `start` on.
fn best_two(start: u32) -> f32 {
  let per_group = EXPERTS / GROUPS;
  var first = choice[start];
  var second = vec4<f32>(NOBODY);
  for (var i = start + 1u; i < start + (per_group + 3u) / 4u; i += 1u) {
    second = max(second, min(first, choice[i]));
    first = max(first, choice[i]);
  }
  var best = first.x;
  var next = second.x;
  for (var i = 1u; i < 4u; i += 1u) {
    next = max(max(next, second[i]), min(best, first[i]));
    best = max(best, first[i]);
  }
  return select(best + next, best, per_group == 1u);
}

// Of one of the groups from `row` on, among them.
fn group_rank(row: u32, group: u32) -> u32 {
  var rank = 0u;
  for (var other = row; other < row + GROUPS; other += 1u) {
    rank += u32(goes_before(group_score[other], other, group_score[group], group));
  }
  return rank;
}

// Of a member of a kept group, among the experts of all groups that the row keeps.
fn expert_rank(row: u32, group: u32, member: u32) -> u32 {
  let vectors = (EXPERTS / GROUPS + 3u) / 4u;
  let own = choice[(row * GROUPS + group) * vectors + member / 4u][member % 4u];
  var before = vec4<u32>();
  for (var i = 0u; i < params.GROUPS_KEPT; i += 1u) {
    let other_group = ranked_groups[row * GROUPS + i];
    let start = (row * GROUPS + other_group) * vectors;
    for (var vector = 0u; vector < vectors; vector += 1u) {
      let others = choice[start + vector];
      let members = vec4<u32>(4u * vector) + vec4<u32>(0u, 1u, 2u, 3u);
      let is_lower = vec4<bool>(other_group < group) | (vec4<bool>(other_group == group) & (members < vec4<u32>(member)));
      before += vec4<u32>((others > vec4<f32>(own)) | ((others == vec4<f32>(own)) & is_lower));
    }
  }
  return before.x + before.y + before.z + before.w;
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
