// tile.wgsl's products of one activation row where lanes can swap values: 8 weight rows, CHUNK_LANES chunks at a time.
//
//   lane = 8 · chunk lane + row lane     sums up one weight row over one chunk
//
// The eight lanes of a chunk read a line of 128 bytes of one row together, of all eight rows in turn, then swap, so that each
// has the line of its own row: a warp's loads are whole lines, and of neighbouring chunks.
// Needs subgroups of eight lanes or more, and packed vectors that lie within one group.

override CHUNK_LANES: u32;

const ROW_LANES = 8u;
const ROWS_EACH = 1u;
const TILE_ROWS = 8u;
const COLUMNS = 1u;
const LINE_VECTORS = 8u;
const CHUNK_LINES = 64u / (VECTOR_QUADS * LINE_VECTORS);

// [chunk lane][row lane]
var<workgroup> chunk_sums: array<f32, CHUNK_LANES * ROW_LANES>;

// As tile.wgsl's: lane `row lane` gets the product of weight row n + row lane. All lanes must come here.
fn dot_tile(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32, n: u32, rows: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  length: u32, lane: u32,
) -> vec4<f32> {
  let chunk_lane = lane / ROW_LANES;
  let chunks = (length + 255u) / 256u;
  var total = 0.0;
  for (var first = 0u; first < chunks; first += CHUNK_LANES) {
    let count = min(CHUNK_LANES, chunks - first);
    var sum = 0.0;
    if (chunk_lane < count) {
      sum = chunk_of(w, w_base, n, rows, x, x_bases[0], first + chunk_lane, length, lane % ROW_LANES);
    }
    // Others may still be adding up the sums before.
    workgroupBarrier();
    chunk_sums[lane] = sum;
    workgroupBarrier();
    if (chunk_lane == 0u) {
      total = added_up(total, count, lane);
    }
  }
  return vec4<f32>(total, 0.0, 0.0, 0.0);
}

// Ascending; four loads are under way together.
fn added_up(start: f32, count: u32, lane: u32) -> f32 {
  var total = start;
  var i = 0u;
  for (; i + 4u <= count; i += 4u) {
    let at = i * ROW_LANES + lane;
    let a = chunk_sums[at];
    let b = chunk_sums[at + ROW_LANES];
    let c = chunk_sums[at + 2u * ROW_LANES];
    let d = chunk_sums[at + 3u * ROW_LANES];
    total = (((total + a) + b) + c) + d;
  }
  for (; i < count; i += 1u) {
    total += chunk_sums[i * ROW_LANES + lane];
  }
  return total;
}

// `place`: the row lane, and which vector of a line the lane reads.
fn chunk_of(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32, n: u32, rows: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  chunk: u32, length: u32, place: u32,
) -> f32 {
  let base = w_base + min(n + place, rows - 1u) * params.W_VECTORS;
  let lo = vec4<u32>(w_base + place) + weight_rows(n, rows, params.W_VECTORS);
  let hi = vec4<u32>(w_base + place) + weight_rows(n + 4u, rows, params.W_VECTORS);
  let groups = row_groups(w, base, chunk);
  // Of whole units; what is left of the chunk goes by units.
  let lines = 2u * (length / 8u) / (VECTOR_QUADS * LINE_VECTORS);
  let begin = chunk * CHUNK_LINES;
  let end = max(begin, min(lines, begin + CHUNK_LINES));
  var sum = 0.0;
  for (var line = begin; line < end; line += 1u) {
    let at = LINE_VECTORS * line;
    let own = own_line(
      Line(
        (*w)[lo.x + at], (*w)[lo.y + at], (*w)[lo.z + at], (*w)[lo.w + at],
        (*w)[hi.x + at], (*w)[hi.y + at], (*w)[hi.z + at], (*w)[hi.w + at],
      ),
      place,
    );
    // Written out: what is indexed lies in slow memory.
    sum = add_vector(x, x_base, at, own.a, groups, sum);
    sum = add_vector(x, x_base, at + 1u, own.b, groups, sum);
    sum = add_vector(x, x_base, at + 2u, own.c, groups, sum);
    sum = add_vector(x, x_base, at + 3u, own.d, groups, sum);
    sum = add_vector(x, x_base, at + 4u, own.e, groups, sum);
    sum = add_vector(x, x_base, at + 5u, own.f, groups, sum);
    sum = add_vector(x, x_base, at + 6u, own.g, groups, sum);
    sum = add_vector(x, x_base, at + 7u, own.h, groups, sum);
  }
  let last = min((length + 7u) / 8u, (chunk + 1u) * UNITS_PER_CHUNK);
  for (var unit = end * LINE_VECTORS * VECTOR_QUADS / 2u; unit < last; unit += 1u) {
    let values = weight_unit(w, base, unit);
    sum = dot_quad(activation(x, x_base, 2u * unit, length), values.lo, sum);
    sum = dot_quad(activation(x, x_base, 2u * unit + 1u, length), values.hi, sum);
  }
  return sum;
}

fn add_vector(
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32, vector: u32, packed: vec4<u32>, groups: RowGroups, start: f32,
) -> f32 {
  let by = whole_decoder(decoder_in(groups, vector), packed);
  let at = x_base + vector * VECTOR_QUADS;
  var sum = dot_quad((*x)[at], decoded_quad(packed, 0u, by), start);
  if (VECTOR_QUADS > 1u) {
    sum = dot_quad((*x)[at + 1u], decoded_quad(packed, 1u, by), sum);
  }
  if (VECTOR_QUADS > 2u) {
    sum = dot_quad((*x)[at + 2u], decoded_quad(packed, 2u, by), sum);
    sum = dot_quad((*x)[at + 3u], decoded_quad(packed, 3u, by), sum);
  }
  if (VECTOR_QUADS > 4u) {
    sum = dot_quad((*x)[at + 4u], decoded_quad(packed, 4u, by), sum);
    sum = dot_quad((*x)[at + 5u], decoded_quad(packed, 5u, by), sum);
    sum = dot_quad((*x)[at + 6u], decoded_quad(packed, 6u, by), sum);
    sum = dot_quad((*x)[at + 7u], decoded_quad(packed, 7u, by), sum);
  }
  return sum;
}

fn dot_quad(x: vec4<f32>, w: vec4<f32>, sum: f32) -> f32 {
  return fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, sum))));
}

// A line of a row, or a vector of each of eight rows.
struct Line {
  a: vec4<u32>,
  b: vec4<u32>,
  c: vec4<u32>,
  d: vec4<u32>,
  e: vec4<u32>,
  f: vec4<u32>,
  g: vec4<u32>,
  h: vec4<u32>,
}

// Lane i of eight comes with vector i of eight rows and leaves with the eight vectors of row i, in order: lanes that differ
// in one bit of their place swap the half that is not theirs, bit by bit.
fn own_line(rows: Line, place: u32) -> Line {
  let one = (place & 1u) != 0u;
  let ab = swapped(rows.a, rows.b, quadSwapX(select(rows.b, rows.a, one)), one);
  let cd = swapped(rows.c, rows.d, quadSwapX(select(rows.d, rows.c, one)), one);
  let ef = swapped(rows.e, rows.f, quadSwapX(select(rows.f, rows.e, one)), one);
  let gh = swapped(rows.g, rows.h, quadSwapX(select(rows.h, rows.g, one)), one);
  let two = (place & 2u) != 0u;
  let ac = swapped(ab.first, cd.first, quadSwapY(select(cd.first, ab.first, two)), two);
  let bd = swapped(ab.last, cd.last, quadSwapY(select(cd.last, ab.last, two)), two);
  let eg = swapped(ef.first, gh.first, quadSwapY(select(gh.first, ef.first, two)), two);
  let fh = swapped(ef.last, gh.last, quadSwapY(select(gh.last, ef.last, two)), two);
  let four = (place & 4u) != 0u;
  let ae = swapped(ac.first, eg.first, subgroupShuffleXor(select(eg.first, ac.first, four), 4u), four);
  let bf = swapped(bd.first, fh.first, subgroupShuffleXor(select(fh.first, bd.first, four), 4u), four);
  let cg = swapped(ac.last, eg.last, subgroupShuffleXor(select(eg.last, ac.last, four), 4u), four);
  let dh = swapped(bd.last, fh.last, subgroupShuffleXor(select(fh.last, bd.last, four), 4u), four);
  return Line(ae.first, bf.first, cg.first, dh.first, ae.last, bf.last, cg.last, dh.last);
}

struct Swapped {
  first: vec4<u32>,
  last: vec4<u32>,
}

// What the other lane gave takes the place of what it was given.
fn swapped(first: vec4<u32>, last: vec4<u32>, given: vec4<u32>, is_late: bool) -> Swapped {
  return Swapped(select(first, given, is_late), select(given, last, is_late));
}
