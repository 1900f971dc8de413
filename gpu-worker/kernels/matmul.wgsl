// y[r, n] = Σ_k w[n, k] · x[r, k]
//
//   x        f32 [rows, X_STRIDE] as vec4, read: K values a row, the rest is padding
//   weights  one window of row records [ROWS_IN_WINDOW, K], read
//   y        f32 [rows, Y_STRIDE], write: columns Y_OFFSET … Y_OFFSET + ROWS_IN_WINDOW − 1
//
// One invocation: four weight rows, one activation row. Grid: x = weight rows / 256, y = activation rows.
// Rounds as dot.wgsl says; nothing else rounds.
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
  let row = group.y;
  let w_bases = weight_rows(n, params.ROWS_IN_WINDOW, params.W_VECTORS);
  let sums = dot_row(&weights, w_bases, &x, row * params.X_VECTORS, params.K);
  let at = row * params.Y_STRIDE + params.Y_OFFSET + n;
  for (var i = 0u; i < min(4u, params.ROWS_IN_WINDOW - n); i += 1u) {
    y[at + i] = sums[i];
  }
}
