// y[r, i] = weight[i] · (x[r, i] / sqrt(mean_i(x²) + EPS))
//
//   x       f32 [rows, X_STRIDE], read: columns X_OFFSET … X_OFFSET + WIDTH − 1
//   weight  one row [WIDTH] as stored, read
//   y       f32 [rows, Y_STRIDE], write
//
// One workgroup: one row; lane t sums the squares of columns t, t + 64, … by fma, the lanes by row-sum.wgsl.
// Grid: x = rows. Rounds: each fma, the tree, mean, root, quotient, product.
struct Params {
  WIDTH: u32,
  X_STRIDE: u32,
  X_OFFSET: u32,
  Y_STRIDE: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let base = group.x * params.X_STRIDE + params.X_OFFSET;
  var sum = 0.0;
  for (var i = lane; i < params.WIDTH; i += 64u) {
    let v = x[base + i];
    sum = fma(v, v, sum);
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var i = lane; i < params.WIDTH; i += 64u) {
    y[group.x * params.Y_STRIDE + i] = weight_at(&weight, 0u, i) * (x[base + i] / root);
  }
}
