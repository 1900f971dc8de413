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
// One vector more than a lane's eight rows have: those of neighbouring lanes begin in different banks.
const LANE_VECTORS = 8u * SLAB_QUADS + 1u;

// [lane][row of its eight][quad], so that a constant is added to an index that was checked once.
var<workgroup> weight_slab: array<array<vec4<f32>, LANE_VECTORS>, ROW_LANES>;
var<workgroup> x_slab: array<array<vec4<f32>, LANE_VECTORS>, COLUMN_LANES>;

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
    part = add_quad(lane, 0u, part);
    part = add_quad(lane, 1u, part);
    part = add_quad(lane, 2u, part);
    part = add_quad(lane, 3u, part);
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
  let row = lane / SLAB_UNITS;
  let column = lane / SLAB_QUADS;
  let at = 2u * (lane % SLAB_UNITS);
  let x_at = lane % SLAB_QUADS;
  keep_unit(row, at, next.units_a, unit, length);
  keep_unit(row + 32u, at, next.units_b, unit, length);
  keep_quad(column, x_at, next.quads_a, quad, length);
  keep_quad(column + 16u, x_at, next.quads_b, quad, length);
  if (ROW_LANES > 8u) {
    keep_unit(row + 64u, at, next.units_c, unit, length);
    keep_unit(row + 96u, at, next.units_d, unit, length);
  }
  if (COLUMN_LANES > 4u) {
    keep_quad(column + 32u, x_at, next.quads_c, quad, length);
    keep_quad(column + 48u, x_at, next.quads_d, quad, length);
  }
}

fn keep_unit(row: u32, at: u32, packed: PackedUnit, unit: u32, length: u32) {
  let values = unit_of(packed);
  let is_within = 8u * unit < length;
  let first = row / ROW_LANES * SLAB_QUADS + at;
  weight_slab[row % ROW_LANES][first] = select(vec4<f32>(), values.lo, is_within);
  weight_slab[row % ROW_LANES][first + 1u] = select(vec4<f32>(), values.hi, is_within);
}

fn keep_quad(column: u32, at: u32, values: vec4<f32>, quad: u32, length: u32) {
  x_slab[column % COLUMN_LANES][column / COLUMN_LANES * SLAB_QUADS + at] = within(values, quad, length);
}

// Quad by quad, written out: what is indexed by a constant needs no check.
fn add_quad(lane: u32, quad: u32, sums: BlockSums) -> BlockSums {
  let row = lane % ROW_LANES;
  let column = lane / ROW_LANES;
  let lo = Quads(
    weight_slab[row][quad], weight_slab[row][quad + 4u], weight_slab[row][quad + 8u], weight_slab[row][quad + 12u],
  );
  let hi = Quads(
    weight_slab[row][quad + 16u], weight_slab[row][quad + 20u], weight_slab[row][quad + 24u], weight_slab[row][quad + 28u],
  );
  return BlockSums(add_columns(column, quad, lo, sums.lo), add_columns(column, quad, hi, sums.hi));
}

fn add_columns(column: u32, quad: u32, w: Quads, sums: Columns) -> Columns {
  return Columns(
    dot_quads(x_slab[column][quad], w.a, w.b, w.c, w.d, sums.a),
    dot_quads(x_slab[column][quad + 4u], w.a, w.b, w.c, w.d, sums.b),
    dot_quads(x_slab[column][quad + 8u], w.a, w.b, w.c, w.d, sums.c),
    dot_quads(x_slab[column][quad + 12u], w.a, w.b, w.c, w.d, sums.d),
    dot_quads(x_slab[column][quad + 16u], w.a, w.b, w.c, w.d, sums.e),
    dot_quads(x_slab[column][quad + 20u], w.a, w.b, w.c, w.d, sums.f),
    dot_quads(x_slab[column][quad + 24u], w.a, w.b, w.c, w.d, sums.g),
    dot_quads(x_slab[column][quad + 28u], w.a, w.b, w.c, w.d, sums.h),
  );
}

fn added(a: Columns, b: Columns) -> Columns {
  return Columns(a.a + b.a, a.b + b.b, a.c + b.c, a.d + b.d, a.e + b.e, a.f + b.f, a.g + b.g, a.h + b.h);
}
