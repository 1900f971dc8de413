// dot.wgsl's products of one activation row by a whole workgroup, a lane for each chunk.
//
// A lane keeps the activations of its chunk and goes down the tile's weight rows: neighbours read neighbouring parts of a row as
// it lies, nothing is loaded twice, and the loads of the next four rows are under way while these are multiplied. Eight rows
// a turn; then one lane a row adds up its chunks' sums, ascending: dot.wgsl's bits.
// A row of more chunks than lanes takes passes. Needs a chunk include.

override WARPS: u32;
// A multiple of 8, at most the lanes.
override TILE_ROWS: u32;

const TURN_ROWS = 8u;

// [row of the turn][lane], little of it: the more of a workgroup's memory is taken, the fewer workgroups run side by side.
var<workgroup> chunk_sums: array<f32, TURN_ROWS * (32u * WARPS + 1u)>;

fn lane_count() -> u32 {
  return 32u * WARPS;
}

fn chunk_count() -> u32 {
  return (params.K + 8u * UNITS_PER_CHUNK - 1u) / (8u * UNITS_PER_CHUNK);
}

// Lanes past the last chunk repeat it, and nobody adds their sums.
fn chunk_of(lane: u32, first: u32) -> u32 {
  return min(first + lane, chunk_count() - 1u);
}

// Adds chunks `first` … first + lanes − 1 of weight row n + lane to `start`, for lanes below TILE_ROWS; rows past the last of
// `rows` repeat it. `own`: the activations of chunk first + lane. All lanes must come here.
fn add_chunks(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32, n: u32, rows: u32,
  x: ptr<storage, array<vec4<f32>>, read>, own: Chunk, first: u32, start: f32, lane: u32,
) -> f32 {
  let count = min(lane_count(), chunk_count() - first);
  var total = start;
  var a = packed_chunk(w, row_base(w_base, n, rows), own);
  var b = packed_chunk(w, row_base(w_base, n + 1u, rows), own);
  var c = packed_chunk(w, row_base(w_base, n + 2u, rows), own);
  var d = packed_chunk(w, row_base(w_base, n + 3u, rows), own);
  for (var turn = 0u; turn < TILE_ROWS; turn += TURN_ROWS) {
    for (var row = 0u; row < turn_rows(); row += 4u) {
      // Behind the tile's last rows, these again: nobody uses them.
      let next = n + min(turn + row + 4u, TILE_ROWS - 4u);
      let this_a = a;
      a = packed_chunk(w, row_base(w_base, next, rows), own);
      chunk_sums[place_of(row, lane)] = dot_chunk(w, this_a, x, own);
      let this_b = b;
      b = packed_chunk(w, row_base(w_base, next + 1u, rows), own);
      chunk_sums[place_of(row + 1u, lane)] = dot_chunk(w, this_b, x, own);
      let this_c = c;
      c = packed_chunk(w, row_base(w_base, next + 2u, rows), own);
      chunk_sums[place_of(row + 2u, lane)] = dot_chunk(w, this_c, x, own);
      let this_d = d;
      d = packed_chunk(w, row_base(w_base, next + 3u, rows), own);
      chunk_sums[place_of(row + 3u, lane)] = dot_chunk(w, this_d, x, own);
    }
    workgroupBarrier();
    if (lane / TURN_ROWS == turn / TURN_ROWS) {
      total = added_up(total, lane % TURN_ROWS, count);
    }
    workgroupBarrier();
  }
  return total;
}

fn row_base(w_base: u32, n: u32, rows: u32) -> u32 {
  return w_base + min(n, rows - 1u) * params.W_VECTORS;
}

// Not a constant to compilers: a loop that they unroll has so many loads under way that few workgroups find registers.
fn turn_rows() -> u32 {
  return TURN_ROWS + u32(params.K == 0u);
}

// A row is one longer than its lanes: neighbouring rows, which are read together, begin in different banks.
fn place_of(row: u32, lane: u32) -> u32 {
  return row * (lane_count() + 1u) + lane;
}

// Ascending; eight loads are under way together.
fn added_up(start: f32, row: u32, count: u32) -> f32 {
  var total = start;
  var i = 0u;
  for (; i + 8u <= count; i += 8u) {
    let a = chunk_sums[place_of(row, i)];
    let b = chunk_sums[place_of(row, i + 1u)];
    let c = chunk_sums[place_of(row, i + 2u)];
    let d = chunk_sums[place_of(row, i + 3u)];
    let e = chunk_sums[place_of(row, i + 4u)];
    let f = chunk_sums[place_of(row, i + 5u)];
    let g = chunk_sums[place_of(row, i + 6u)];
    let h = chunk_sums[place_of(row, i + 7u)];
    total = (((((((total + a) + b) + c) + d) + e) + f) + g) + h;
  }
  for (; i < count; i += 1u) {
    total += chunk_sums[place_of(row, i)];
  }
  return total;
}
