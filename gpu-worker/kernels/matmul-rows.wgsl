// y[r, n] = Σ_k w[n, k] · x[r, k], four activation rows at a time: the same bits as matmul.wgsl, each weight read once
// for four rows.
//
// Bindings: include/matmul.wgsl.
//
// One invocation: four weight rows, four activation rows; rows past the last are computed from whatever lies there and
// read by nobody. Grid: x = weight rows / 256, y = activation rows / 4.

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
