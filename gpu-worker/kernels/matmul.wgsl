// y[r, n] = Σ_k w[n, k] · x[r, k]
//
// Bindings: include/matmul.wgsl.
//
// One invocation: four weight rows, one activation row. Grid: x = weight rows / 256, y = activation rows.
// Rounds as dot.wgsl says; nothing else rounds.

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
