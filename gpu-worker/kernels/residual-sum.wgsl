// x[r, i] ← x[r, i] + delta[r, i]
//
//   x      f32 [rows, STRIDE], read and written
//   delta  f32 [rows, STRIDE], read
//
// One invocation: one value. Grid: x = WIDTH / 64, y = rows. Rounds: the sum, as residual-norm.wgsl rounds it.
struct Params {
  WIDTH: u32,
  STRIDE: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> delta: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * 64u + lane;
  if (i >= params.WIDTH) {
    return;
  }
  let at = group.y * params.STRIDE + i;
  x[at] = x[at] + delta[at];
}
