// y[r, n] = Σ_k w[n, k] · x[r, k], a workgroup for a tile of weight rows and one activation row: the bits of matmul.wgsl.
//
// Bindings: include/matmul.wgsl.
//
// Grid: x = weight rows / tile_rows(), y = activation rows. Rounds as dot.wgsl.

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let lanes = lanes_for(params.K);
  let n = tile_rows(lanes) * group.x;
  var sum = 0.0;
  for (var first = 0u; first < lanes.chunk_count; first += lanes.chunks) {
    let own = own_chunk(&x, group.y * params.X_VECTORS, chunk_of(lanes, lane, first));
    sum = add_chunks(&weights, 0u, n, params.ROWS_IN_WINDOW, &x, own, lanes, first, sum, lane);
  }
  if (lane < tile_rows(lanes) && n + lane < params.ROWS_IN_WINDOW) {
    y[group.y * params.Y_STRIDE + params.Y_OFFSET + n + lane] = sum;
  }
}
