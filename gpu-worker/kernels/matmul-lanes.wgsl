// y[r, n] = Σ_k w[n, k] · x[r, k], four or eight activation rows at a time by lanes that share them: the bits of matmul.wgsl.
//
// Bindings: include/matmul.wgsl.
//
// One workgroup: 32 weight rows, four a lane, and ROWS_TOGETHER activation rows; rows past the step's last are computed from
// whatever lies there and read by nobody. Grid: x = weight rows / 32, y = activation rows / ROWS_TOGETHER. Rounds as dot.wgsl.
override ROWS_TOGETHER: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = 4u * (group.x * LANES + lane);
  let row = group.y * ROWS_TOGETHER;
  let w_bases = weight_rows(n, params.ROWS_IN_WINDOW, params.W_VECTORS);
  let x_rows = min(vec2<u32>(row + lane / 2u) + vec2<u32>(0u, 4u), vec2<u32>(params.ROWS_MAX - 1u));
  let x_bases = x_rows * params.X_VECTORS;
  if (ROWS_TOGETHER == 4u) {
    keep(n, row, dot_four(&weights, w_bases, &x, x_bases.x, params.K, lane));
  } else {
    let sums = dot_eight(&weights, w_bases, &x, x_bases, params.K, lane);
    keep(n, row, sums.first);
    if (row + 4u < params.ROWS_MAX) {
      keep(n, row + 4u, sums.last);
    }
  }
}

// ROWS_MAX is a multiple of 4.
fn keep(n: u32, row: u32, sums: mat4x4<f32>) {
  let at = (vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u)) * params.Y_STRIDE + vec4<u32>(params.Y_OFFSET + n);
  for (var i = 0u; i < 4u && n + i < params.ROWS_IN_WINDOW; i += 1u) {
    y[at.x + i] = sums[0][i];
    y[at.y + i] = sums[1][i];
    y[at.z + i] = sums[2][i];
    y[at.w + i] = sums[3][i];
  }
}
