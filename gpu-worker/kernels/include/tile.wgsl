// dot.wgsl's products by a whole workgroup: 32 weight rows against COLUMNS activation rows, CHUNK_LANES chunks at a time.
//
//   lane = 8 · chunk lane + row lane     sums up four weight rows, 4 · row lane + (0, 1, 2, 3), over one chunk
//
// The chunks' sums are then added in ascending order: dot.wgsl's bits. Needs a columns and a chunk include.

override CHUNK_LANES: u32;

const ROW_LANES = 8u;
const ROWS_EACH = 4u;
const TILE_ROWS = 32u;

// [column][chunk lane][row lane]
var<workgroup> chunk_sums: array<vec4<f32>, COLUMNS * CHUNK_LANES * ROW_LANES>;

// What lane 8 · column + row lane gets: the products of its four weight rows with activation row x_bases[column]; the
// other lanes, nothing. The tile starts at row n of `rows` rows from vector `w_base` on. All lanes must come here.
fn dot_tile(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32, n: u32, rows: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  length: u32, lane: u32,
) -> vec4<f32> {
  let row_lane = lane % ROW_LANES;
  let chunk_lane = lane / ROW_LANES;
  let w_bases = vec4<u32>(w_base) + weight_rows(n + 4u * row_lane, rows, params.W_VECTORS);
  let units = (length + 7u) / 8u;
  let chunks = (units + UNITS_PER_CHUNK - 1u) / UNITS_PER_CHUNK;
  var total = vec4<f32>(0.0);
  for (var first = 0u; first < chunks; first += CHUNK_LANES) {
    let count = min(CHUNK_LANES, chunks - first);
    var sums = Sums();
    if (chunk_lane < count) {
      sums = chunk_of(w, w_bases, x, x_bases, first + chunk_lane, length, lane);
    }
    // Others may still be adding up the sums before.
    workgroupBarrier();
    keep_sums(CHUNK_LANES * ROW_LANES, lane, sums);
    workgroupBarrier();
    if (chunk_lane < COLUMNS) {
      for (var i = 0u; i < count; i += 1u) {
        total += chunk_sums[(chunk_lane * CHUNK_LANES + i) * ROW_LANES + row_lane];
      }
    }
  }
  return total;
}

// Units from `unit` up to `end`, whose activations may end within.
fn add_rest(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  unit: u32, end: u32, length: u32, start: Sums,
) -> Sums {
  var sums = start;
  for (var at = unit; at < end; at += 1u) {
    let p = weight_unit(w, w_bases.x, at);
    let q = weight_unit(w, w_bases.y, at);
    let r = weight_unit(w, w_bases.z, at);
    let s = weight_unit(w, w_bases.w, at);
    sums = add_last(x, x_bases, 2u * at, length, Quads(p.lo, q.lo, r.lo, s.lo), sums);
    sums = add_last(x, x_bases, 2u * at + 1u, length, Quads(p.hi, q.hi, r.hi, s.hi), sums);
  }
  return sums;
}
