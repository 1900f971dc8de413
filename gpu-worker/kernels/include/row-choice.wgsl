// Over all tokens of one row by 256 lanes, an owner each: the best of them, and sums in one tree: a strand's ids ascending,
// an owner's two strands, 16 owners ascending, 16 sums ascending. Who includes this has FAN = 16 in its Params. Needs
// row-order.wgsl. Barriers inside; a second use of the same function needs one between.
const WORKGROUP = 256u;
// Owners that a lane stands for.
const OWNERS_EACH = 1u;
// From one strand of a lane to its next.
const STRAND_STEP = 256u;
// Quads that a lane fetches together, 1 or 4: one that waits for each alone does little else.
const QUADS_AHEAD = 4u;

var<workgroup> lane_sums: array<vec4<f32>, OWNERS>;
var<workgroup> group_sums: array<vec4<f32>, 16>;
var<workgroup> lane_best: array<vec2<u32>, OWNERS>;
var<workgroup> group_best: array<vec2<u32>, 16>;
var<workgroup> whole_sum: vec4<f32>;

// What a lane knows of the tree.
struct Tree {
  sum: vec4<f32>,
}

fn owner_of(turn: u32, lane: u32) -> u32 {
  return lane;
}

// With the sum of the owner of this turn.
fn grown(tree: Tree, turn: u32, sum: vec4<f32>) -> Tree {
  return Tree(sum);
}

fn best_of_all(mine: vec2<u32>, lane: u32) -> vec2<u32> {
  lane_best[lane] = mine;
  workgroupBarrier();
  if (lane < params.FAN) {
    var best = lane_best[lane * params.FAN];
    for (var i = 1u; i < params.FAN; i += 1u) {
      best = better(best, lane_best[lane * params.FAN + i]);
    }
    group_best[lane] = best;
  }
  workgroupBarrier();
  var best = group_best[0];
  for (var i = 1u; i < params.FAN; i += 1u) {
    best = better(best, group_best[i]);
  }
  return best;
}

// Lane 0 alone adds the last 16: on a CPU, 256 lanes doing so cost more than all the rest of a round.
fn sum_of_all(tree: Tree, lane: u32) -> vec4<f32> {
  lane_sums[lane] = tree.sum;
  workgroupBarrier();
  if (lane < params.FAN) {
    var sum = lane_sums[lane * params.FAN];
    for (var i = 1u; i < params.FAN; i += 1u) {
      sum += lane_sums[lane * params.FAN + i];
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
