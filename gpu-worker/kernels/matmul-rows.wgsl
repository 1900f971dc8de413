// y[r, n] = Σ_k w[n, k] · x[r, k], four activation rows at a time: the same bits as matmul.wgsl, each weight read once
// for four rows.
//
//   x        f32 [rows rounded up to 4, X_STRIDE] as vec4, read
//   weights  one window of row records [ROWS_IN_WINDOW, K], read
//   y        f32 [rows rounded up to 4, Y_STRIDE], write: columns Y_OFFSET … Y_OFFSET + ROWS_IN_WINDOW − 1
//
// One invocation: four weight rows, four activation rows; rows past the last are computed from whatever lies there and
// read by nobody. Grid: x = weight rows / 256, y = activation rows / 4.
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = 4u * (group.x * 64u + lane);
  if (n >= params.ROWS_IN_WINDOW) {
    return;
  }
  let rows = vec4<u32>(4u * group.y) + vec4<u32>(0u, 1u, 2u, 3u);
  let w_bases = weight_rows(n, params.ROWS_IN_WINDOW, params.W_VECTORS);
  let sums = dot_rows(&weights, w_bases, &x, rows * params.X_VECTORS, params.K);
  let at = rows * params.Y_STRIDE + vec4<u32>(params.Y_OFFSET + n);
  for (var i = 0u; i < min(4u, params.ROWS_IN_WINDOW - n); i += 1u) {
    y[at.x + i] = sums[0][i];
    y[at.y + i] = sums[1][i];
    y[at.z + i] = sums[2][i];
    y[at.w + i] = sums[3][i];
  }
}
