// row-choice.wgsl by 512 lanes, a strand each: the same best, the same tree.
const WORKGROUP = 512u;
// Owners that a lane stands for, if only by one strand.
const OWNERS_EACH = 1u;
// From one strand of a lane to its next: it has one.
const STRAND_STEP = 512u;
// Quads that a lane fetches together, 1 or 4: one that waits for each alone does little else.
const QUADS_AHEAD = 4u;

var<workgroup> lane_sums: array<vec4<f32>, STRANDS>;
var<workgroup> group_sums: array<vec4<f32>, 16>;
var<workgroup> lane_best: array<vec2<u32>, STRANDS>;
var<workgroup> group_best: array<vec2<u32>, 32>;
var<workgroup> whole_sum: vec4<f32>;

// What a lane knows of the tree.
struct Tree {
  sum: vec4<f32>,
}

fn owner_of(turn: u32, lane: u32) -> u32 {
  return lane;
}

// With the sum of the lane's strand.
fn grown(tree: Tree, turn: u32, sum: vec4<f32>) -> Tree {
  return Tree(sum);
}

fn best_of_all(mine: vec2<u32>, lane: u32) -> vec2<u32> {
  lane_best[lane] = mine;
  workgroupBarrier();
  if (lane < 2u * params.FAN) {
    var best = lane_best[lane * params.FAN];
    for (var i = 1u; i < params.FAN; i += 1u) {
      best = better(best, lane_best[lane * params.FAN + i]);
    }
    group_best[lane] = best;
  }
  workgroupBarrier();
  var best = group_best[0];
  for (var i = 1u; i < 2u * params.FAN; i += 1u) {
    best = better(best, group_best[i]);
  }
  return best;
}

fn sum_of_all(tree: Tree, lane: u32) -> vec4<f32> {
  lane_sums[lane] = tree.sum;
  workgroupBarrier();
  if (lane < params.FAN) {
    var sum = owner_sum(lane * params.FAN);
    for (var i = 1u; i < params.FAN; i += 1u) {
      sum += owner_sum(lane * params.FAN + i);
    }
    group_sums[lane] = sum;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var sum = group_sums[0];
    for (var i = 1u; i < params.FAN; i += 1u) {
      sum += group_sums[i];
    }
    whole_sum = sum;
  }
  return workgroupUniformLoad(&whole_sum);
}

fn owner_sum(owner: u32) -> vec4<f32> {
  return lane_sums[owner] + lane_sums[owner + OWNERS];
}
