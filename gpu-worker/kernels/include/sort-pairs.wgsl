// The counting sort of expert-groups.wgsl by all lanes of a workgroup. Works on `chosen`, `groups`, GROUP and PAIRS_AT.
override EXPERT_COUNT: u32;

var<workgroup> counts: array<atomic<u32>, EXPERT_COUNT>;
var<workgroup> firsts: array<u32, EXPERT_COUNT>;

// Once in a shader: counts begin at zero.
fn sort_pairs(pairs: u32, lane: u32) {
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
