// dot.wgsl's products for many activation rows: a workgroup of 64 lanes multiplies 8 · ROW_LANES weight rows with
// 8 · COLUMN_LANES activation rows, eight by eight a lane, from slabs of 16 columns in workgroup memory.
//
//   lane = ROW_LANES · column lane + row lane    has weight rows row lane + ROW_LANES · (0 … 7) of the block
//                                            and activation rows column lane + COLUMN_LANES · (0 … 7)
//
// A lane adds up each chunk, two slabs, in order, then the chunks: dot.wgsl's bits. What it puts into the next slab it
// fetches before it multiplies this one, all loads at once and undecoded, so that it waits for none of them.
// Needs a units include and block-sums.wgsl, and of the kernel what that says.

const SLAB_UNITS = 2u;
const SLAB_QUADS = 4u;
const CHUNK_SLABS = UNITS_PER_CHUNK / SLAB_UNITS;
// One vector more than a row has: neighbouring rows begin in different banks.
const SLAB_STRIDE = 5u;

// [row][quad]
var<workgroup> weight_slab: array<vec4<f32>, 8u * ROW_LANES * SLAB_STRIDE>;
var<workgroup> x_slab: array<vec4<f32>, 8u * COLUMN_LANES * SLAB_STRIDE>;

// A lane's part of a slab: one unit of every 32nd weight row, one quad of every 16th activation row.
// By name: arrays are not sure to stay in registers.
struct Fetched {
  units_a: PackedUnit,
  units_b: PackedUnit,
  units_c: PackedUnit,
  units_d: PackedUnit,
  quads_a: vec4<f32>,
  quads_b: vec4<f32>,
  quads_c: vec4<f32>,
  quads_d: vec4<f32>,
}

// All lanes must come here.
fn dot_block(block: Block, length: u32, lane: u32) -> BlockSums {
  let slabs = (length + 15u) / 16u;
  var total = BlockSums();
  var part = BlockSums();
  var next = fetched(block, 0u, length, lane);
  for (var slab = 0u; slab < slabs; slab += 1u) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    fill_slabs(next, slab, length, lane);
    workgroupBarrier();
    next = fetched(block, min(slab + 1u, slabs - 1u), length, lane);
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

// Past the last column: what lies in it.
fn fetched(block: Block, slab: u32, length: u32, lane: u32) -> Fetched {
  let unit = min(SLAB_UNITS * slab + lane % SLAB_UNITS, (length + 7u) / 8u - 1u);
  let quad = min(SLAB_QUADS * slab + lane % SLAB_QUADS, (length + 3u) / 4u - 1u);
  let row = lane / SLAB_UNITS;
  let column = lane / SLAB_QUADS;
  var next = Fetched();
  next.units_a = block_unit(block, row, unit);
  next.units_b = block_unit(block, row + 32u, unit);
  next.quads_a = block_quad(block, column, quad);
  next.quads_b = block_quad(block, column + 16u, quad);
  if (ROW_LANES > 8u) {
    next.units_c = block_unit(block, row + 64u, unit);
    next.units_d = block_unit(block, row + 96u, unit);
  }
  if (COLUMN_LANES > 4u) {
    next.quads_c = block_quad(block, column + 32u, quad);
    next.quads_d = block_quad(block, column + 48u, quad);
  }
  return next;
}

// Past the last column both are 0.
fn fill_slabs(next: Fetched, slab: u32, length: u32, lane: u32) {
  let unit = SLAB_UNITS * slab + lane % SLAB_UNITS;
  let quad = SLAB_QUADS * slab + lane % SLAB_QUADS;
  let at = lane / SLAB_UNITS * SLAB_STRIDE + 2u * (lane % SLAB_UNITS);
  let x_at = lane / SLAB_QUADS * SLAB_STRIDE + lane % SLAB_QUADS;
  keep_unit(at, next.units_a, unit, length);
  keep_unit(at + 32u * SLAB_STRIDE, next.units_b, unit, length);
  x_slab[x_at] = within(next.quads_a, quad, length);
  x_slab[x_at + 16u * SLAB_STRIDE] = within(next.quads_b, quad, length);
  if (ROW_LANES > 8u) {
    keep_unit(at + 64u * SLAB_STRIDE, next.units_c, unit, length);
    keep_unit(at + 96u * SLAB_STRIDE, next.units_d, unit, length);
  }
  if (COLUMN_LANES > 4u) {
    x_slab[x_at + 32u * SLAB_STRIDE] = within(next.quads_c, quad, length);
    x_slab[x_at + 48u * SLAB_STRIDE] = within(next.quads_d, quad, length);
  }
}

fn keep_unit(at: u32, packed: PackedUnit, unit: u32, length: u32) {
  let values = unit_of(packed);
  let is_within = 8u * unit < length;
  weight_slab[at] = select(vec4<f32>(), values.lo, is_within);
  weight_slab[at + 1u] = select(vec4<f32>(), values.hi, is_within);
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
