// y[j, i] = weight[i] · (v / sqrt(mean_i(v²) + EPS)),  v = x[r, i] + delta[r, i],  r = picked[j]
//
//   picked  u32 [logit rows], read: rows whose logits are wanted
//   x       f32 [rows, STRIDE], read: left as it is
//   delta   f32 [rows, STRIDE], read
//   weight  one row [WIDTH] as stored, read
//   y       f32 [logit rows, STRIDE], write
//
// The residual and the norm are residual-norm.wgsl's, bit for bit. One workgroup: one picked row. Grid: x = logit rows.
struct Params {
  WIDTH: u32,
  STRIDE: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> picked: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let base = picked[group.x] * params.STRIDE;
  var sum = 0.0;
  for (var i = lane; i < params.WIDTH; i += 64u) {
    let v = x[base + i] + delta[base + i];
    sum = fma(v, v, sum);
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var i = lane; i < params.WIDTH; i += 64u) {
    let v = x[base + i] + delta[base + i];
    y[group.x * params.STRIDE + i] = weight_at(&weight, 0u, i) * (v / root);
  }
}
