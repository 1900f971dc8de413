// x[r, i] ← x[r, i] + delta[r, i];  y[r, i] = weight[i] · (x[r, i] / sqrt(mean_i(x²) + EPS))
//
//   x       f32 [rows, STRIDE], read and written
//   delta   f32 [rows, STRIDE], read
//   weight  one row [WIDTH] as stored, read
//   y       f32 [rows, STRIDE], write
//
// The norm is rms-norm.wgsl's, bit for bit. One workgroup: one row. Grid: x = rows.
// Rounds: the residual sum, then as rms-norm.wgsl.
struct Params {
  WIDTH: u32,
  STRIDE: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> delta: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let base = group.x * params.STRIDE;
  var sum = 0.0;
  for (var i = lane; i < params.WIDTH; i += 64u) {
    let v = x[base + i] + delta[base + i];
    x[base + i] = v;
    sum = fma(v, v, sum);
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  // Each lane reads back only what it wrote itself.
  for (var i = lane; i < params.WIDTH; i += 64u) {
    y[base + i] = weight_at(&weight, 0u, i) * (x[base + i] / root);
  }
}
