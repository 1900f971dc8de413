// block.wgsl's products by subgroup matrices: both factors rounded to f16, sums in f32. Its own numerics: the order in which
// a matrix unit adds is not ours to say, but it is the same wherever in a matrix a row stands, and every row comes here.
//
// Two subgroups of 32 lanes, half of the 128 weight rows each; 32 activation rows. Slabs of 32 columns lie in workgroup
// memory as f16; past the last column both factors are 0. Needs what block.wgsl needs of its kernel.

const SLAB_UNITS = 4u;
const SLAB_QUADS = 8u;
// Eight values more than a row has: neighbouring rows begin in different banks.
const SLAB_STRIDE = 40u;
const BLOCK_ROWS = 128u;
const BLOCK_COLUMNS = 32u;
const SUM_STRIDE = 36u;
const SUBGROUP_LANES = 32u;

// [row][column of K]
var<workgroup> weight_slab: array<f16, BLOCK_ROWS * SLAB_STRIDE>;
var<workgroup> x_slab: array<f16, BLOCK_COLUMNS * SLAB_STRIDE>;
// [weight row][activation row]
var<workgroup> sum_slab: array<f32, BLOCK_ROWS * SUM_STRIDE>;

// All lanes must come here.
fn dot_block(block: Block, length: u32, lane: u32) -> BlockSums {
  var sums: array<array<subgroup_matrix_result<f32, 16, 16>, 2>, 4>;
  let first = lane / SUBGROUP_LANES * (BLOCK_ROWS / 2u);
  let slabs = (length + 31u) / 32u;
  for (var slab = 0u; slab < slabs; slab += 1u) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    fill_slabs(block, slab, length, lane);
    workgroupBarrier();
    for (var k = 0u; k < 32u; k += 16u) {
      let x0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&x_slab, k, SLAB_STRIDE);
      let x1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(
        &x_slab, 16u * SLAB_STRIDE + k, SLAB_STRIDE,
      );
      for (var i = 0u; i < 4u; i += 1u) {
        let w = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
          &weight_slab, (first + 16u * i) * SLAB_STRIDE + k, SLAB_STRIDE,
        );
        sums[i][0] = subgroupMatrixMultiplyAccumulate(w, x0, sums[i][0]);
        sums[i][1] = subgroupMatrixMultiplyAccumulate(w, x1, sums[i][1]);
      }
    }
  }
  for (var i = 0u; i < 4u; i += 1u) {
    let at = (first + 16u * i) * SUM_STRIDE;
    subgroupMatrixStore<row_major>(&sum_slab, at, sums[i][0], SUM_STRIDE);
    subgroupMatrixStore<row_major>(&sum_slab, at + 16u, sums[i][1], SUM_STRIDE);
  }
  workgroupBarrier();
  return BlockSums(own_columns(lane, 0u), own_columns(lane, 4u * ROW_LANES));
}

fn fill_slabs(block: Block, slab: u32, length: u32, lane: u32) {
  let units = (length + 7u) / 8u;
  let quads = (length + 3u) / 4u;
  for (var i = lane; i < BLOCK_ROWS * SLAB_UNITS; i += BLOCK_LANES) {
    let row = i / SLAB_UNITS;
    let unit = i % SLAB_UNITS;
    var values = Unit();
    if (SLAB_UNITS * slab + unit < units) {
      values = unit_of(block_unit(block, row, SLAB_UNITS * slab + unit));
    }
    let at = row * SLAB_STRIDE + 8u * unit;
    for (var j = 0u; j < 4u; j += 1u) {
      weight_slab[at + j] = f16(values.lo[j]);
      weight_slab[at + 4u + j] = f16(values.hi[j]);
    }
  }
  for (var i = lane; i < BLOCK_COLUMNS * SLAB_QUADS; i += BLOCK_LANES) {
    let column = i / SLAB_QUADS;
    let quad = i % SLAB_QUADS;
    var values = vec4<f32>();
    if (SLAB_QUADS * slab + quad < quads) {
      values = within(block_quad(block, column, SLAB_QUADS * slab + quad), SLAB_QUADS * slab + quad, length);
    }
    for (var j = 0u; j < 4u; j += 1u) {
      x_slab[column * SLAB_STRIDE + 4u * quad + j] = f16(values[j]);
    }
  }
}

fn own_columns(lane: u32, row: u32) -> Columns {
  let at = (row + lane % ROW_LANES) * SUM_STRIDE + lane / ROW_LANES;
  return Columns(
    own_sums(at), own_sums(at + COLUMN_LANES), own_sums(at + 2u * COLUMN_LANES), own_sums(at + 3u * COLUMN_LANES),
    own_sums(at + 4u * COLUMN_LANES), own_sums(at + 5u * COLUMN_LANES), own_sums(at + 6u * COLUMN_LANES),
    own_sums(at + 7u * COLUMN_LANES),
  );
}

fn own_sums(at: u32) -> vec4<f32> {
  let step = ROW_LANES * SUM_STRIDE;
  return vec4<f32>(sum_slab[at], sum_slab[at + step], sum_slab[at + 2u * step], sum_slab[at + 3u * step]);
}
