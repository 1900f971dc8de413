// row-choice.wgsl by eight lanes that pass values to one another, for software drivers, where a barrier is a detour: the same
// best, the same tree. A lane stands for two groups of 16 owners, lane and lane + 8. Needs subgroups.wgsl, first, and
// row-order.wgsl.
const WORKGROUP = 8u;
// Owners that a lane stands for, a turn each.
const OWNERS_EACH = 32u;
// From one strand of an owner to its next.
const STRAND_STEP = 256u;
// Quads that a lane fetches together.
const QUADS_AHEAD = 1u;

// Sums of the lane's groups of owners.
struct Tree {
  first: vec4<f32>,
  last: vec4<f32>,
}

fn owner_of(turn: u32, lane: u32) -> u32 {
  return 16u * (lane + 8u * (turn / 16u)) + turn % 16u;
}

// With the sum of the owner of this turn; turns ascend.
fn grown(tree: Tree, turn: u32, sum: vec4<f32>) -> Tree {
  let first = select(tree.first + sum, sum, turn == 0u);
  let last = select(tree.last + sum, sum, turn == 16u);
  let is_last = turn >= 16u;
  return Tree(select(first, tree.first, is_last), select(tree.last, last, is_last));
}

fn best_of_all(mine: vec2<u32>, lane: u32) -> vec2<u32> {
  var best = better(mine, subgroupShuffle(mine, lane ^ 1u));
  best = better(best, subgroupShuffle(best, lane ^ 2u));
  return better(best, subgroupShuffle(best, lane ^ 4u));
}

fn sum_of_all(tree: Tree, lane: u32) -> vec4<f32> {
  var sum = subgroupShuffle(tree.first, 0u);
  for (var i = 1u; i < 8u; i += 1u) {
    sum += subgroupShuffle(tree.first, i);
  }
  for (var i = 0u; i < 8u; i += 1u) {
    sum += subgroupShuffle(tree.last, i);
  }
  return sum;
}
