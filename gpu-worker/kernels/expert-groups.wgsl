// The step's (row, rank) pairs by expert, so that a workgroup can read an expert's weights once for several of them.
//
//   chosen  u32 [rows · TOP], read: pair = row · TOP + rank
//   groups  u32, write: items [(expert, first, count, –)], then from PAIRS_AT on the pairs, those of an expert together
//
// An item is up to GROUP pairs of one expert, `first` counted from PAIRS_AT; items past the last have count 0, up to as
// many as the products' grids may ask for. A counting sort: the pairs of one expert stand in any order.
// One workgroup works, whatever the grid: x = rows tells it how many there are.
override EXPERT_COUNT: u32;

struct Params {
  TOP: u32,
  GROUP: u32,
  PAIRS_AT: u32,
}

@group(0) @binding(0) var<storage, read> chosen: array<u32>;
@group(0) @binding(1) var<storage, read_write> groups: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES = 256u;

var<workgroup> counts: array<atomic<u32>, EXPERT_COUNT>;
var<workgroup> firsts: array<u32, EXPERT_COUNT>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32,
  @builtin(num_workgroups) grid: vec3<u32>,
) {
  if (group.x != 0u) {
    return;
  }
  let pairs = grid.x * params.TOP;
  for (var pair = lane; pair < pairs; pair += LANES) {
    atomicAdd(&counts[chosen[pair]], 1u);
  }
  workgroupBarrier();
  for (var expert = lane; expert < EXPERT_COUNT; expert += LANES) {
    let before = before_expert(expert);
    let count = atomicLoad(&counts[expert]);
    firsts[expert] = before.pairs;
    for (var i = 0u; i * params.GROUP < count; i += 1u) {
      let at = 4u * (before.items + i);
      groups[at] = expert;
      groups[at + 1u] = before.pairs + i * params.GROUP;
      groups[at + 2u] = min(params.GROUP, count - i * params.GROUP);
    }
  }
  let items_most = (pairs + (params.GROUP - 1u) * min(EXPERT_COUNT, pairs)) / params.GROUP;
  for (var item = before_expert(EXPERT_COUNT).items + lane; item < items_most; item += LANES) {
    groups[4u * item + 2u] = 0u;
  }
  workgroupBarrier();
  for (var pair = lane; pair < pairs; pair += LANES) {
    let expert = chosen[pair];
    groups[params.PAIRS_AT + firsts[expert] + atomicSub(&counts[expert], 1u) - 1u] = pair;
  }
}

struct Before {
  pairs: u32,
  items: u32,
}

// Pairs and items of the experts before this one.
fn before_expert(expert: u32) -> Before {
  var before = Before(0u, 0u);
  for (var e = 0u; e < expert; e += 1u) {
    let count = atomicLoad(&counts[e]);
    before.pairs += count;
    before.items += (count + params.GROUP - 1u) / params.GROUP;
  }
  return before;
}
