// y[r, n] = Σ_k w[n, k] · x[r, k], one activation row at a time by lanes that share it: the bits of matmul.wgsl.
//
// Bindings: include/matmul.wgsl.
//
// One workgroup: 64 weight rows, one a lane, eight lanes together. Grid: x = weight rows / 64, y = activation rows.
// Rounds as dot.wgsl.

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
