// dot.wgsl's products for a few activation rows: a workgroup multiplies 32 weight rows with up to COLUMNS activation rows, a
// slab of CHUNK_LANES chunks at a time.
//
//   lane = 4 · CHUNK_LANES · ⌊row lane / 4⌋ + 4 · chunk lane + row lane % 4
//          sums up one chunk of the weight rows 4 · row lane + (0, 1, 2, 3), for all columns
//
// A slab's activations lie in workgroup memory, where the lanes of a chunk share what they read. Weights stay where they are:
// a lane fetches a piece before it multiplies the last, and decodes it once for all columns. Then the slab takes the chunks'
// sums, which are added to the totals in ascending order: dot.wgsl's bits.
// Needs a panel-columns and a pieces include, and of the kernel where rows are:
//
//   fn panel_piece(panel: Panel, row_lane: u32, i: u32, piece: u32) -> Piece  a piece of weight row i of four of a row lane
//   fn panel_quad(panel: Panel, column: u32, quad: u32) -> vec4<f32>  four columns of an activation row, as they lie
override CHUNK_EIGHTS: u32;
override PANEL_LANES: u32 = 64u * CHUNK_EIGHTS;

const PANEL_ROWS = 32u;
const ROW_LANES = 8u;
const CHUNK_QUADS = 8u;
const CHUNK_PIECES = CHUNK_QUADS / PIECE_QUADS;
// An odd number of vectors: the chunks of eight lanes begin in different banks.
const SLAB_VECTORS = CHUNK_QUADS * COLUMNS + 1u;

// [chunk lane] in eights, so that a constant is added to an index that was checked once. Of activations [column][quad], of
// sums [column][row lane].
var<workgroup> slab: array<array<array<vec4<f32>, SLAB_VECTORS>, 8>, CHUNK_EIGHTS>;
// [column][weight row]
var<workgroup> totals: array<f32, PANEL_ROWS * COLUMNS>;

// A piece of each of a lane's weight rows.
struct Pieces {
  a: Piece,
  b: Piece,
  c: Piece,
  d: Piece,
}

// A lane's share: its chunk lane, in eights, and its row lane.
struct Share {
  eight: u32,
  chunk: u32,
  row_lane: u32,
}

// Leaves the products in `totals`, for all lanes to read; of columns from `count` on, anything. All lanes must come here.
fn dot_panel(panel: Panel, count: u32, length: u32, lane: u32) {
  let chunk_lane = lane / 4u % (8u * CHUNK_EIGHTS);
  let share = Share(chunk_lane / 8u, chunk_lane % 8u, lane % 4u + 4u * (lane / (32u * CHUNK_EIGHTS)));
  let chunks = (length + 31u) / 32u;
  let stride = 8u * CHUNK_EIGHTS;
  for (var at = lane; at < PANEL_ROWS * COLUMNS; at += PANEL_LANES) {
    totals[at] = 0.0;
  }
  var next = fetched(panel, share.row_lane, CHUNK_PIECES * chunk_lane, length);
  var ahead = quads_of_slab(panel, count, 0u, length, lane);
  for (var first = 0u; first < chunks; first += stride) {
    keep_quads(lane, CHUNK_QUADS * first + lane, length, ahead);
    workgroupBarrier();
    let piece = CHUNK_PIECES * (first + chunk_lane);
    var sums: Sums;
    // Constants, so that each is a loop of its own.
    if (count > 4u) {
      sums = sums_of_chunk(panel, share, 8u, piece, &next, length);
    } else if (count > 2u) {
      sums = sums_of_chunk(panel, share, 4u, piece, &next, length);
    } else if (count > 1u) {
      sums = sums_of_chunk(panel, share, 2u, piece, &next, length);
    } else {
      sums = sums_of_chunk(panel, share, 1u, piece, &next, length);
    }
    // Others may still be reading activations.
    workgroupBarrier();
    keep_sums(share, sums);
    ahead = quads_of_slab(panel, count, first + stride, length, lane);
    workgroupBarrier();
    add_up(min(stride, chunks - first), count, lane);
    // Others may still be adding.
    workgroupBarrier();
  }
}

// A chunk's products for `count` columns. Its first piece is fetched; leaves with that of the lane's next chunk.
fn sums_of_chunk(
  panel: Panel, share: Share, count: u32, piece: u32, next: ptr<function, Pieces>, length: u32,
) -> Sums {
  let after = piece + CHUNK_PIECES * 8u * CHUNK_EIGHTS;
  var sums = add_next(panel, share, count, next, select(after, piece + 1u, CHUNK_PIECES > 1u), length, 0u, Sums());
  if (CHUNK_PIECES > 1u) {
    sums = add_next(panel, share, count, next, select(after, piece + 2u, CHUNK_PIECES > 2u), length, 1u, sums);
  }
  if (CHUNK_PIECES > 2u) {
    sums = add_next(panel, share, count, next, piece + 3u, length, 2u, sums);
    sums = add_next(panel, share, count, next, select(after, piece + 4u, CHUNK_PIECES > 4u), length, 3u, sums);
  }
  if (CHUNK_PIECES > 4u) {
    sums = add_next(panel, share, count, next, piece + 5u, length, 4u, sums);
    sums = add_next(panel, share, count, next, piece + 6u, length, 5u, sums);
    sums = add_next(panel, share, count, next, piece + 7u, length, 6u, sums);
    sums = add_next(panel, share, count, next, after, length, 7u, sums);
  }
  return sums;
}

// A piece of each weight row; past the last column, zeros.
fn fetched(panel: Panel, row_lane: u32, piece: u32, length: u32) -> Pieces {
  if (4u * PIECE_QUADS * piece >= length) {
    return Pieces();
  }
  return Pieces(
    panel_piece(panel, row_lane, 0u, piece),
    panel_piece(panel, row_lane, 1u, piece),
    panel_piece(panel, row_lane, 2u, piece),
    panel_piece(panel, row_lane, 3u, piece),
  );
}

// Eight lanes fill a chunk, a quad each of every column.
fn quads_of_slab(panel: Panel, count: u32, first: u32, length: u32, lane: u32) -> Ahead {
  return quads_ahead(panel, count, min(CHUNK_QUADS * first + lane, (length + 3u) / 4u - 1u));
}

// A quad of activations; columns from `length` on are 0, whatever lies there.
fn within(values: vec4<f32>, quad: u32, length: u32) -> vec4<f32> {
  let at = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), values, at < vec4<u32>(length));
}

// Multiplies what was fetched, piece `place` of the chunk, once piece `following` of the row is on its way.
fn add_next(
  panel: Panel, share: Share, count: u32, next: ptr<function, Pieces>, following: u32, length: u32, place: u32, start: Sums,
) -> Sums {
  let now = *next;
  *next = fetched(panel, share.row_lane, following, length);
  let by = Decoders(piece_decoder(now.a), piece_decoder(now.b), piece_decoder(now.c), piece_decoder(now.d));
  let quad = PIECE_QUADS * place;
  // Written out: what is indexed lies in slow memory.
  var sums = add_quad(share, count, quad, quads_of(now, by, 0u), start);
  if (PIECE_QUADS > 1u) {
    sums = add_quad(share, count, quad + 1u, quads_of(now, by, 1u), sums);
  }
  if (PIECE_QUADS > 2u) {
    sums = add_quad(share, count, quad + 2u, quads_of(now, by, 2u), sums);
    sums = add_quad(share, count, quad + 3u, quads_of(now, by, 3u), sums);
  }
  if (PIECE_QUADS > 4u) {
    sums = add_quad(share, count, quad + 4u, quads_of(now, by, 4u), sums);
    sums = add_quad(share, count, quad + 5u, quads_of(now, by, 5u), sums);
    sums = add_quad(share, count, quad + 6u, quads_of(now, by, 6u), sums);
    sums = add_quad(share, count, quad + 7u, quads_of(now, by, 7u), sums);
  }
  return sums;
}

struct Decoders {
  a: Decoder,
  b: Decoder,
  c: Decoder,
  d: Decoder,
}

fn quads_of(now: Pieces, by: Decoders, quad: u32) -> Quads {
  return Quads(
    piece_quad(now.a, by.a, quad),
    piece_quad(now.b, by.b, quad),
    piece_quad(now.c, by.c, quad),
    piece_quad(now.d, by.d, quad),
  );
}

// Adds the sums of the slab's first `chunks` chunks, ascending; eight loads are under way together.
fn add_up(chunks: u32, count: u32, lane: u32) {
  for (var at = lane; at < PANEL_ROWS * count; at += PANEL_LANES) {
    let vector = at / 4u;
    let part = at % 4u;
    var total = totals[at];
    for (var eight = 0u; eight < chunks / 8u; eight += 1u) {
      let a = slab[eight][0][vector][part];
      let b = slab[eight][1][vector][part];
      let c = slab[eight][2][vector][part];
      let d = slab[eight][3][vector][part];
      let e = slab[eight][4][vector][part];
      let f = slab[eight][5][vector][part];
      let g = slab[eight][6][vector][part];
      let h = slab[eight][7][vector][part];
      total = (((((((total + a) + b) + c) + d) + e) + f) + g) + h;
    }
    for (var chunk = chunks / 8u * 8u; chunk < chunks; chunk += 1u) {
      total += slab[chunk / 8u][chunk % 8u][vector][part];
    }
    totals[at] = total;
  }
}
