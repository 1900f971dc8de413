// y[r, n] = Σ_k w[n, k] · x[r, k], a workgroup for TILE_ROWS weight rows and COLUMNS activation rows: the bits of matmul.wgsl.
//
// Bindings: include/matmul.wgsl.
//
// Rows past the step's last are computed from whatever lies there and read by nobody.
// Grid: x = weight rows / TILE_ROWS, y = activation rows / COLUMNS. Rounds as dot.wgsl.

@compute @workgroup_size(CHUNK_LANES * ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = TILE_ROWS * group.x;
  var x_bases: array<u32, COLUMNS>;
  for (var column = 0u; column < COLUMNS; column += 1u) {
    x_bases[column] = min(COLUMNS * group.y + column, params.ROWS_MAX - 1u) * params.X_VECTORS;
  }
  let sums = dot_tile(&weights, 0u, n, params.ROWS_IN_WINDOW, &x, x_bases, params.K, lane);
  let row = COLUMNS * group.y + lane / ROW_LANES;
  if (lane / ROW_LANES >= COLUMNS || row >= params.ROWS_MAX) {
    return;
  }
  for (var i = 0u; i < ROWS_EACH; i += 1u) {
    let at = n + ROWS_EACH * (lane % ROW_LANES) + i;
    if (at < params.ROWS_IN_WINDOW) {
      y[row * params.Y_STRIDE + params.Y_OFFSET + at] = sums[i];
    }
  }
}
