// Products of whole packed vectors, one vec4<u32> of each of four weight rows.
struct Vectors {
  a: vec4<u32>,
  b: vec4<u32>,
  c: vec4<u32>,
  d: vec4<u32>,
}

// What turns the packed integers of each row's vector into weights.
struct Decoders {
  a: Decoder,
  b: Decoder,
  c: Decoder,
  d: Decoder,
}

fn add_vector(
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  vector: u32, packed: Vectors, by: Decoders, start: Sums,
) -> Sums {
  let quad = vector * VECTOR_QUADS;
  let whole = Decoders(
    whole_decoder(by.a, packed.a), whole_decoder(by.b, packed.b),
    whole_decoder(by.c, packed.c), whole_decoder(by.d, packed.d),
  );
  // Written out: compilers that leave the loop leave `packed` in slow memory.
  var sums = add_quads(x, x_bases, quad, quads_of(packed, 0u, whole), start);
  if (VECTOR_QUADS > 1u) {
    sums = add_quads(x, x_bases, quad + 1u, quads_of(packed, 1u, whole), sums);
  }
  if (VECTOR_QUADS > 2u) {
    sums = add_quads(x, x_bases, quad + 2u, quads_of(packed, 2u, whole), sums);
    sums = add_quads(x, x_bases, quad + 3u, quads_of(packed, 3u, whole), sums);
  }
  if (VECTOR_QUADS > 4u) {
    sums = add_quads(x, x_bases, quad + 4u, quads_of(packed, 4u, whole), sums);
    sums = add_quads(x, x_bases, quad + 5u, quads_of(packed, 5u, whole), sums);
    sums = add_quads(x, x_bases, quad + 6u, quads_of(packed, 6u, whole), sums);
    sums = add_quads(x, x_bases, quad + 7u, quads_of(packed, 7u, whole), sums);
  }
  return sums;
}

fn quads_of(packed: Vectors, quad: u32, by: Decoders) -> Quads {
  return Quads(
    decoded_quad(packed.a, quad, by.a),
    decoded_quad(packed.b, quad, by.b),
    decoded_quad(packed.c, quad, by.c),
    decoded_quad(packed.d, quad, by.d),
  );
}
