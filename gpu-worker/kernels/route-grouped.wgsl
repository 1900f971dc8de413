// route.wgsl for every row of a small step, then expert-groups.wgsl for its pairs, in one dispatch.
//
//   logits, bias, chosen, weights  as in route.wgsl
//   groups                         as in expert-groups.wgsl, write
//
// One workgroup routes and sorts, ROWS rows at a time, whatever the grid: x = rows tells it how many there are.
// y = 1, then the tiles of a shared expert, each row's by a workgroup.
struct Params {
  PAIRS: u32,
  GROUPS_KEPT: u32,
  X_STRIDE: u32,
  X_OFFSET: u32,
  NORMALISE: u32,
  SHARED: u32,
  SCALING: f32,
  GROUP: u32,
  PAIRS_AT: u32,
}

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> groups: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32,
  @builtin(num_workgroups) grid: vec3<u32>,
) {
  if (group.y > 0u) {
    shared_hidden(group.x, group.y - 1u, lane);
  }
  if (group.x != 0u || group.y != 0u) {
    return;
  }
  for (var row = 0u; row < grid.x; row += ROWS) {
    route_rows(row, min(ROWS, grid.x - row), lane);
    workgroupBarrier();
  }
  storageBarrier();
  sort_pairs(grid.x * params.PAIRS, lane);
}
