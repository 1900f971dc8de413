// The counting sort of expert-groups.wgsl by all lanes of a workgroup. Works on `chosen`, `groups`, GROUP and PAIRS_AT.
override EXPERT_COUNT: u32;

var<workgroup> counts: array<atomic<u32>, EXPERT_COUNT>;
// Pairs and items of an expert and of those before it: two copies, which the rounds of the sum write in turn.
var<workgroup> sums: array<vec2<u32>, 2 * EXPERT_COUNT>;

// Once in a shader: counts begin at zero.
fn sort_pairs(pairs: u32, lane: u32) {
  for (var pair = lane; pair < pairs; pair += LANES) {
    atomicAdd(&counts[chosen[pair]], 1u);
  }
  workgroupBarrier();
  let ends = add_up(lane);
  for (var expert = lane; expert < EXPERT_COUNT; expert += LANES) {
    let count = atomicLoad(&counts[expert]);
    let end = sums[ends + expert];
    let items = items_of(count);
    for (var i = 0u; i < items; i += 1u) {
      let at = 4u * (end.y - items + i);
      groups[at] = expert;
      groups[at + 1u] = end.x - count + i * params.GROUP;
      groups[at + 2u] = min(params.GROUP, count - i * params.GROUP);
    }
  }
  let items_most = (pairs + (params.GROUP - 1u) * min(EXPERT_COUNT, pairs)) / params.GROUP;
  for (var item = sums[ends + EXPERT_COUNT - 1u].y + lane; item < items_most; item += LANES) {
    groups[4u * item + 2u] = 0u;
  }
  workgroupBarrier();
  for (var pair = lane; pair < pairs; pair += LANES) {
    let expert = chosen[pair];
    groups[params.PAIRS_AT + sums[ends + expert].x - atomicSub(&counts[expert], 1u)] = pair;
  }
}

fn items_of(count: u32) -> u32 {
  return (count + params.GROUP - 1u) / params.GROUP;
}

// Fills one copy of `sums` and returns where it begins: each round adds to a sum the one as far before it as it reaches.
fn add_up(lane: u32) -> u32 {
  for (var expert = lane; expert < EXPERT_COUNT; expert += LANES) {
    let count = atomicLoad(&counts[expert]);
    sums[expert] = vec2<u32>(count, items_of(count));
  }
  workgroupBarrier();
  var read_at = 0u;
  for (var reach = 1u; reach < EXPERT_COUNT; reach *= 2u) {
    let write_at = EXPERT_COUNT - read_at;
    for (var expert = lane; expert < EXPERT_COUNT; expert += LANES) {
      let before = select(vec2<u32>(), sums[read_at + expert - min(reach, expert)], expert >= reach);
      sums[write_at + expert] = sums[read_at + expert] + before;
    }
    read_at = write_at;
    workgroupBarrier();
  }
  return read_at;
}
