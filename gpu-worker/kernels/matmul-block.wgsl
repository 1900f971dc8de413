// y[r, n] = Σ_k w[n, k] · x[r, k], a workgroup for 64 weight rows and 64 activation rows, or 128 and 32: matmul.wgsl's bits.
//
// Bindings: include/matmul.wgsl.
//
// Rows past the step's last are computed from whatever lies there and read by nobody.
// Grid: x = weight rows / a block's, y = activation rows / a block's. Rounds as dot.wgsl.

// The first of its weight rows and of its activation rows.
struct Block {
  n: u32,
  row: u32,
}

fn block_unit(block: Block, row: u32, unit: u32) -> PackedUnit {
  return packed_unit(&weights, min(block.n + row, params.ROWS_IN_WINDOW - 1u) * params.W_VECTORS, unit);
}

fn block_quad(block: Block, column: u32, quad: u32) -> vec4<f32> {
  return x[min(block.row + column, params.ROWS_MAX - 1u) * params.X_VECTORS + quad];
}

@compute @workgroup_size(BLOCK_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = Block(8u * ROW_LANES * group.x, 8u * COLUMN_LANES * group.y);
  let sums = dot_block(block, params.K, lane);
  let n = block.n + lane % ROW_LANES;
  let row = block.row + lane / ROW_LANES;
  write_columns(row, n, sums.lo);
  write_columns(row, n + 4u * ROW_LANES, sums.hi);
}

fn write_columns(row: u32, n: u32, sums: Columns) {
  write_sums(row, n, sums.a);
  write_sums(row + COLUMN_LANES, n, sums.b);
  write_sums(row + 2u * COLUMN_LANES, n, sums.c);
  write_sums(row + 3u * COLUMN_LANES, n, sums.d);
  write_sums(row + 4u * COLUMN_LANES, n, sums.e);
  write_sums(row + 5u * COLUMN_LANES, n, sums.f);
  write_sums(row + 6u * COLUMN_LANES, n, sums.g);
  write_sums(row + 7u * COLUMN_LANES, n, sums.h);
}

fn write_sums(row: u32, n: u32, sums: vec4<f32>) {
  if (row >= params.ROWS_MAX) {
    return;
  }
  let at = row * params.Y_STRIDE + params.Y_OFFSET + n;
  if (n < params.ROWS_IN_WINDOW) {
    y[at] = sums.x;
  }
  if (n + ROW_LANES < params.ROWS_IN_WINDOW) {
    y[at + ROW_LANES] = sums.y;
  }
  if (n + 2u * ROW_LANES < params.ROWS_IN_WINDOW) {
    y[at + 2u * ROW_LANES] = sums.z;
  }
  if (n + 3u * ROW_LANES < params.ROWS_IN_WINDOW) {
    y[at + 3u * ROW_LANES] = sums.w;
  }
}
