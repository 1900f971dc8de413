// The step's (row, rank) pairs by expert, so that a workgroup can read an expert's weights once for several of them.
//
//   chosen  u32 [rows · TOP], read: pair = row · TOP + rank
//   groups  u32, write: items [(expert, first, count, –)], then from PAIRS_AT on the pairs, those of an expert together
//
// An item is up to GROUP pairs of one expert, `first` counted from PAIRS_AT; items past the last have count 0, up to as
// many as the products' grids may ask for. A counting sort: the pairs of one expert stand in any order.
// One workgroup works, whatever the grid: x = rows tells it how many there are.
struct Params {
  TOP: u32,
  GROUP: u32,
  PAIRS_AT: u32,
}

@group(0) @binding(0) var<storage, read> chosen: array<u32>;
@group(0) @binding(1) var<storage, read_write> groups: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES = 256u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32,
  @builtin(num_workgroups) grid: vec3<u32>,
) {
  if (group.x == 0u) {
    sort_pairs(grid.x * params.TOP, lane);
  }
}
