// dot.wgsl's products for many activation rows: a workgroup of 64 lanes multiplies 8 · ROW_LANES weight rows with
// 8 · COLUMN_LANES activation rows, eight by eight a lane, from slabs of 32 columns in workgroup memory.
//
//   lane = ROW_LANES · column lane + row lane    has weight rows row lane + ROW_LANES · (0 … 7) of the block
//                                            and activation rows column lane + COLUMN_LANES · (0 … 7)
//
// A lane adds up each chunk of 256 columns in order, then the chunks: dot.wgsl's bits. The kernel defines where rows are:
//
//   fn block_unit(block: Block, row: u32, unit: u32) -> Unit          a unit of one of the block's weight rows
//   fn block_quad(block: Block, column: u32, quad: u32) -> vec4<f32>  four columns of one of its activation rows

const SLAB_UNITS = 4u;
const SLAB_QUADS = 8u;
const CHUNK_SLABS = UNITS_PER_CHUNK / SLAB_UNITS;
// One vector more than a row has: neighbouring rows begin in different banks.
const SLAB_STRIDE = 9u;

// [row][quad]
var<workgroup> weight_slab: array<vec4<f32>, 8u * ROW_LANES * SLAB_STRIDE>;
var<workgroup> x_slab: array<vec4<f32>, 8u * COLUMN_LANES * SLAB_STRIDE>;

// All lanes must come here.
fn dot_block(block: Block, length: u32, lane: u32) -> BlockSums {
  let slabs = (length + 31u) / 32u;
  var total = BlockSums();
  var part = BlockSums();
  for (var slab = 0u; slab < slabs; slab += 1u) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    fill_slabs(block, slab, length, lane);
    workgroupBarrier();
    for (var quad = 0u; quad < SLAB_QUADS; quad += 1u) {
      let lo = weight_quads(lane % ROW_LANES, quad);
      let hi = weight_quads(lane % ROW_LANES + 4u * ROW_LANES, quad);
      let at = lane / ROW_LANES * SLAB_STRIDE + quad;
      part = BlockSums(add_columns(at, lo, part.lo), add_columns(at, hi, part.hi));
    }
    if (slab % CHUNK_SLABS == CHUNK_SLABS - 1u || slab == slabs - 1u) {
      total = BlockSums(added(total.lo, part.lo), added(total.hi, part.hi));
      part = BlockSums();
    }
  }
  return total;
}

// Past the last column both are 0, and nothing is read.
fn fill_slabs(block: Block, slab: u32, length: u32, lane: u32) {
  let units = (length + 7u) / 8u;
  let quads = (length + 3u) / 4u;
  for (var i = lane; i < 8u * ROW_LANES * SLAB_UNITS; i += BLOCK_LANES) {
    let row = i / SLAB_UNITS;
    let unit = i % SLAB_UNITS;
    var values = Unit();
    if (SLAB_UNITS * slab + unit < units) {
      values = block_unit(block, row, SLAB_UNITS * slab + unit);
    }
    weight_slab[row * SLAB_STRIDE + 2u * unit] = values.lo;
    weight_slab[row * SLAB_STRIDE + 2u * unit + 1u] = values.hi;
  }
  for (var i = lane; i < 8u * COLUMN_LANES * SLAB_QUADS; i += BLOCK_LANES) {
    let column = i / SLAB_QUADS;
    let quad = i % SLAB_QUADS;
    var values = vec4<f32>();
    if (SLAB_QUADS * slab + quad < quads) {
      values = block_quad(block, column, SLAB_QUADS * slab + quad);
    }
    x_slab[column * SLAB_STRIDE + quad] = values;
  }
}

fn weight_quads(row: u32, quad: u32) -> Quads {
  let at = row * SLAB_STRIDE + quad;
  let step = ROW_LANES * SLAB_STRIDE;
  return Quads(weight_slab[at], weight_slab[at + step], weight_slab[at + 2u * step], weight_slab[at + 3u * step]);
}

fn add_columns(at: u32, w: Quads, sums: Columns) -> Columns {
  let step = COLUMN_LANES * SLAB_STRIDE;
  return Columns(
    dot_quads(x_slab[at], w.a, w.b, w.c, w.d, sums.a),
    dot_quads(x_slab[at + step], w.a, w.b, w.c, w.d, sums.b),
    dot_quads(x_slab[at + 2u * step], w.a, w.b, w.c, w.d, sums.c),
    dot_quads(x_slab[at + 3u * step], w.a, w.b, w.c, w.d, sums.d),
    dot_quads(x_slab[at + 4u * step], w.a, w.b, w.c, w.d, sums.e),
    dot_quads(x_slab[at + 5u * step], w.a, w.b, w.c, w.d, sums.f),
    dot_quads(x_slab[at + 6u * step], w.a, w.b, w.c, w.d, sums.g),
    dot_quads(x_slab[at + 7u * step], w.a, w.b, w.c, w.d, sums.h),
  );
}

fn added(a: Columns, b: Columns) -> Columns {
  return Columns(a.a + b.a, a.b + b.b, a.c + b.c, a.d + b.d, a.e + b.e, a.f + b.f, a.g + b.g, a.h + b.h);
}
