// A chunk's sums, a packed vec4<u32> of each weight row at a time: no word is loaded twice, a scale is read once for all.
// Needs packed vectors that lie within one group.

const CHUNK_VECTORS = 2u * UNITS_PER_CHUNK / VECTOR_QUADS;

fn chunk_of(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  chunk: u32, length: u32, lane: u32,
) -> Sums {
  var sums = Sums();
  // Of whole units; what is left of the chunk goes by units.
  let vectors = 2u * (length / 8u) / VECTOR_QUADS;
  let begin = chunk * CHUNK_VECTORS;
  let end = max(begin, min(vectors, begin + CHUNK_VECTORS));
  for (var vector = begin; vector < end; vector += 1u) {
    let at = w_bases + vec4<u32>(vector);
    let packed = Vectors((*w)[at.x], (*w)[at.y], (*w)[at.z], (*w)[at.w]);
    let group = vector_group(vector);
    let by = Decoders(
      decoder_at(w, w_bases.x, group), decoder_at(w, w_bases.y, group),
      decoder_at(w, w_bases.z, group), decoder_at(w, w_bases.w, group),
    );
    sums = add_vector(x, x_bases, vector, packed, by, sums);
  }
  let last = min((length + 7u) / 8u, (chunk + 1u) * UNITS_PER_CHUNK);
  return add_rest(w, w_bases, x, x_bases, end * VECTOR_QUADS / 2u, last, length, sums);
}
