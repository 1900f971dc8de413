// dot.wgsl's products of one activation row by a whole workgroup, a lane for each chunk.
//
//   lane = chunk_lanes · team + chunk lane     sums up its chunk of each weight row of its team
//
// A lane keeps the activations of its chunk and goes down the rows: neighbours read neighbouring parts of a row as it lies, and
// nothing is loaded twice. A turn is eight rows a team; then one lane a row adds up its chunks' sums, ascending, while the
// others go on with the next turn. dot.wgsl's bits. Needs a chunk include.

override TURNS: u32;

const WORKGROUP = 256u;
const TURN_ROWS = 8u;

// How the lanes are shared out, the same in every workgroup; weight-shader.ts knows the rows of a tile.
struct Lanes {
  // Chunks of a row that are summed together; a longer row takes passes.
  chunks: u32,
  // Lanes for other rows.
  teams: u32,
  // Of the row.
  chunk_count: u32,
}

fn lanes_for(length: u32) -> Lanes {
  let chunks = (length + 8u * UNITS_PER_CHUNK - 1u) / (8u * UNITS_PER_CHUNK);
  let passes = (chunks + WORKGROUP - 1u) / WORKGROUP;
  let together = max((chunks + passes - 1u) / passes, 2u * TURN_ROWS);
  return Lanes(together, WORKGROUP / together, chunks);
}

// Of two turns [turn % 2][row of the team][lane]: the next fills one half while the last is read from the other.
var<workgroup> chunk_sums: array<f32, 2u * TURN_ROWS * WORKGROUP>;

fn tile_rows(lanes: Lanes) -> u32 {
  return TURN_ROWS * lanes.teams * TURNS;
}

// Adds chunks `first` … first + lanes.chunks - 1 of weight row n + lane to `start`, for lanes below tile_rows; rows past the
// last of `rows` repeat it. `own`: the activations of chunk first + chunk lane. All lanes must come here.
fn add_chunks(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32, n: u32, rows: u32,
  x: ptr<storage, array<vec4<f32>>, read>, own: Chunk, lanes: Lanes, first: u32, start: f32, lane: u32,
) -> f32 {
  let count = min(lanes.chunks, lanes.chunk_count - first);
  let team = lane / lanes.chunks;
  var total = start;
  for (var turn = 0u; turn < TURNS; turn += 1u) {
    let half = turn % 2u * TURN_ROWS;
    let team_rows = n + (turn * lanes.teams + team) * TURN_ROWS;
    // Lanes of no team have nothing to do.
    for (var row = select(TURN_ROWS, 0u, team < lanes.teams); row < TURN_ROWS; row += 4u) {
      let bases = vec4<u32>(w_base) + weight_rows(team_rows + row, rows, params.W_VECTORS);
      // Four loads under way together.
      let a = packed_chunk(w, bases.x, own);
      let b = packed_chunk(w, bases.y, own);
      let c = packed_chunk(w, bases.z, own);
      let d = packed_chunk(w, bases.w, own);
      chunk_sums[place_of(half + row, lane)] = dot_chunk(w, a, x, own);
      chunk_sums[place_of(half + row + 1u, lane)] = dot_chunk(w, b, x, own);
      chunk_sums[place_of(half + row + 2u, lane)] = dot_chunk(w, c, x, own);
      chunk_sums[place_of(half + row + 3u, lane)] = dot_chunk(w, d, x, own);
    }
    workgroupBarrier();
    if (lane / (TURN_ROWS * lanes.teams) == turn) {
      total = added_up(total, half + lane % TURN_ROWS, lane / TURN_ROWS % lanes.teams * lanes.chunks, count);
    }
  }
  return total;
}

// Lanes of one row lie side by side, and those that are read together in banks of their own.
fn place_of(row: u32, lane: u32) -> u32 {
  return row * WORKGROUP + (lane ^ (4u * (row % TURN_ROWS)));
}

// Ascending; eight loads are under way together.
fn added_up(start: f32, row: u32, first: u32, count: u32) -> f32 {
  var total = start;
  var i = first;
  for (; i + 8u <= first + count; i += 8u) {
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
  for (; i < first + count; i += 1u) {
    total += chunk_sums[place_of(row, i)];
  }
  return total;
}

// Those past the last repeat it, and nobody adds their sums.
fn chunk_of(lanes: Lanes, lane: u32, first: u32) -> u32 {
  return min(first + lane % lanes.chunks, lanes.chunk_count - 1u);
}
