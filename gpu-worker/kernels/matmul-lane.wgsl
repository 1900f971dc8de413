// y[r, n] = Σ_k w[n, k] · x[r, k], one activation row at a time by lanes that share it: the bits of matmul.wgsl.
//
//   x        f32 [rows, X_STRIDE] as vec4, read
//   weights  one window of row records [ROWS_IN_WINDOW, K], read
//   y        f32 [rows, Y_STRIDE], write: columns Y_OFFSET … Y_OFFSET + ROWS_IN_WINDOW − 1
//
// One workgroup: 64 weight rows, one a lane, eight lanes together. Grid: x = weight rows / 64, y = activation rows.
// Rounds as dot.wgsl.
struct Params {
  K: u32,
  X_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  ROWS_IN_WINDOW: u32,
  Y_STRIDE: u32,
  Y_OFFSET: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const WORKGROUP = 64u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = group.x * WORKGROUP + lane;
  // Lanes past the last row work for the others.
  let w_base = min(n, params.ROWS_IN_WINDOW - 1u) * params.W_VECTORS;
  let sum = dot_one(&weights, w_base, &x, group.y * params.X_VECTORS, params.K, lane % LANES);
  if (n < params.ROWS_IN_WINDOW) {
    y[group.y * params.Y_STRIDE + params.Y_OFFSET + n] = sum;
  }
}
