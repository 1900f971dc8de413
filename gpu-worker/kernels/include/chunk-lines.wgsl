// A chunk's sums, a line of 64 bytes of each weight row at a time. The four lanes of a quad read a line of one row together,
// then swap, so that each has the line of its own row: alone, a lane would fetch 32 bytes and more for each 16 that it wants.
// Needs subgroups, quads whose lanes share a chunk, and packed vectors that lie within one group.

const LINE_VECTORS = 4u;
const CHUNK_LINES = 64u / (VECTOR_QUADS * LINE_VECTORS);

fn chunk_of(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  chunk: u32, length: u32, lane: u32,
) -> Sums {
  var sums = Sums();
  // Of whole units; what is left of the chunk goes by units.
  let lines = 2u * (length / 8u) / (VECTOR_QUADS * LINE_VECTORS);
  let begin = chunk * CHUNK_LINES;
  let end = max(begin, min(lines, begin + CHUNK_LINES));
  // Four rows of each lane of the quad.
  let p = quadBroadcast(w_bases, 0u);
  let q = quadBroadcast(w_bases, 1u);
  let r = quadBroadcast(w_bases, 2u);
  let s = quadBroadcast(w_bases, 3u);
  let groups = ChunkGroups(
    row_groups(w, w_bases.x, chunk), row_groups(w, w_bases.y, chunk),
    row_groups(w, w_bases.z, chunk), row_groups(w, w_bases.w, chunk),
  );
  let place = lane % 4u;
  for (var line = begin; line < end; line += 1u) {
    let at = LINE_VECTORS * line + place;
    var a = own_line(Vectors((*w)[p.x + at], (*w)[q.x + at], (*w)[r.x + at], (*w)[s.x + at]), place);
    var b = own_line(Vectors((*w)[p.y + at], (*w)[q.y + at], (*w)[r.y + at], (*w)[s.y + at]), place);
    var c = own_line(Vectors((*w)[p.z + at], (*w)[q.z + at], (*w)[r.z + at], (*w)[s.z + at]), place);
    var d = own_line(Vectors((*w)[p.w + at], (*w)[q.w + at], (*w)[r.w + at], (*w)[s.w + at]), place);
    for (var i = 0u; i < LINE_VECTORS; i += 1u) {
      let vector = LINE_VECTORS * line + i;
      sums = add_vector(x, x_bases, vector, Vectors(a.a, b.a, c.a, d.a), decoders_in(groups, vector), sums);
      // Moved, not indexed: what is indexed lies in slow memory.
      a = Vectors(a.b, a.c, a.d, a.d);
      b = Vectors(b.b, b.c, b.d, b.d);
      c = Vectors(c.b, c.c, c.d, c.d);
      d = Vectors(d.b, d.c, d.d, d.d);
    }
  }
  let last = min((length + 7u) / 8u, (chunk + 1u) * UNITS_PER_CHUNK);
  return add_rest(w, w_bases, x, x_bases, end * LINE_VECTORS * VECTOR_QUADS / 2u, last, length, sums);
}

// Lane i of a quad comes with vector i of four rows and leaves with the four vectors of row i, in order.
fn own_line(rows: Vectors, place: u32) -> Vectors {
  let is_odd = (place & 1u) != 0u;
  let from_even = quadSwapX(select(rows.b, rows.a, is_odd));
  let from_even_too = quadSwapX(select(rows.d, rows.c, is_odd));
  // Two vectors of row i or of i − 2, two of i + 2 or of i.
  let a = select(rows.a, from_even, is_odd);
  let b = select(from_even, rows.b, is_odd);
  let c = select(rows.c, from_even_too, is_odd);
  let d = select(from_even_too, rows.d, is_odd);
  let is_late = (place & 2u) != 0u;
  let first = quadSwapY(select(c, a, is_late));
  let second = quadSwapY(select(d, b, is_late));
  return Vectors(
    select(a, first, is_late), select(b, second, is_late), select(first, c, is_late), select(second, d, is_late),
  );
}

// Of the lane's four rows.
struct ChunkGroups {
  a: RowGroups,
  b: RowGroups,
  c: RowGroups,
  d: RowGroups,
}

fn decoders_in(groups: ChunkGroups, vector: u32) -> Decoders {
  return Decoders(
    decoder_in(groups.a, vector), decoder_in(groups.b, vector),
    decoder_in(groups.c, vector), decoder_in(groups.d, vector),
  );
}
