// A chunk's sums, a packed vec4<u32> of each weight row at a time: no word is loaded twice, a scale is read once for all.
// Needs packed vectors that lie within one group.

const CHUNK_VECTORS = 64u / VECTOR_QUADS;

fn chunk_of(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  chunk: u32, length: u32,
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
    let zeros = vector_zeros(w, w_bases, group);
    let scales = vector_scales(w, w_bases, group);
    let quad = vector * VECTOR_QUADS;
    // Written out: compilers that leave the loop leave `packed` in slow memory.
    sums = add_quads(x, x_bases, quad, quads_of(packed, 0u, zeros, scales), sums);
    if (VECTOR_QUADS > 1u) {
      sums = add_quads(x, x_bases, quad + 1u, quads_of(packed, 1u, zeros, scales), sums);
    }
    if (VECTOR_QUADS > 2u) {
      sums = add_quads(x, x_bases, quad + 2u, quads_of(packed, 2u, zeros, scales), sums);
      sums = add_quads(x, x_bases, quad + 3u, quads_of(packed, 3u, zeros, scales), sums);
    }
    if (VECTOR_QUADS > 4u) {
      sums = add_quads(x, x_bases, quad + 4u, quads_of(packed, 4u, zeros, scales), sums);
      sums = add_quads(x, x_bases, quad + 5u, quads_of(packed, 5u, zeros, scales), sums);
      sums = add_quads(x, x_bases, quad + 6u, quads_of(packed, 6u, zeros, scales), sums);
      sums = add_quads(x, x_bases, quad + 7u, quads_of(packed, 7u, zeros, scales), sums);
    }
  }
  let last = min((length + 7u) / 8u, (chunk + 1u) * UNITS_PER_CHUNK);
  return add_rest(w, w_bases, x, x_bases, end * VECTOR_QUADS / 2u, last, length, sums);
}

// One vector of each of four weight rows.
struct Vectors {
  a: vec4<u32>,
  b: vec4<u32>,
  c: vec4<u32>,
  d: vec4<u32>,
}

fn quads_of(packed: Vectors, quad: u32, zeros: vec4<f32>, scales: vec4<f32>) -> Quads {
  return Quads(
    vector_quad(packed.a, quad, zeros.x, scales.x),
    vector_quad(packed.b, quad, zeros.y, scales.y),
    vector_quad(packed.c, quad, zeros.z, scales.z),
    vector_quad(packed.d, quad, zeros.w, scales.w),
  );
}
