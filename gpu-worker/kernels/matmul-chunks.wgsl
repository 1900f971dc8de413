// y[r, n] = Σ_k w[n, k] · x[r, k], a workgroup for a tile of weight rows and one activation row: the bits of matmul.wgsl.
//
// Bindings: include/matmul.wgsl.
//
// Grid: x = weight rows / TILE_ROWS, y = activation rows. Rounds as dot.wgsl.

@compute @workgroup_size(32u * WARPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = TILE_ROWS * group.x;
  var sum = 0.0;
  for (var first = 0u; first < chunk_count(); first += lane_count()) {
    let own = own_chunk(&x, group.y * params.X_VECTORS, chunk_of(lane, first));
    sum = add_chunks(&weights, 0u, n, params.ROWS_IN_WINDOW, &x, own, first, sum, lane);
  }
  if (lane < TILE_ROWS && n + lane < params.ROWS_IN_WINDOW) {
    y[group.y * params.Y_STRIDE + params.Y_OFFSET + n + lane] = sum;
  }
}
