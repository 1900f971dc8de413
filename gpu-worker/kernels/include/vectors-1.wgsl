// A chunk of a weight row in one packed vector: int4. Needs whole-chunks.wgsl.
struct PackedChunk {
  a: vec4<u32>,
  by: Decoder,
}

fn packed_chunk(w: ptr<storage, array<vec4<u32>>, read>, base: u32, own: Chunk) -> PackedChunk {
  let by = decoder_at(w, base, own.group);
  return PackedChunk((*w)[base + own.index], by);
}

fn dot_chunk(
  w: ptr<storage, array<vec4<u32>>, read>, packed: PackedChunk, x: ptr<storage, array<vec4<f32>>, read>, own: Chunk,
) -> f32 {
  let by = whole_decoder(packed.by, packed.a);
  var sum = dot_quad(own.a, decoded_quad(packed.a, 0u, by), 0.0);
  sum = dot_quad(own.b, decoded_quad(packed.a, 1u, by), sum);
  sum = dot_quad(own.c, decoded_quad(packed.a, 2u, by), sum);
  sum = dot_quad(own.d, decoded_quad(packed.a, 3u, by), sum);
  sum = dot_quad(own.e, decoded_quad(packed.a, 4u, by), sum);
  sum = dot_quad(own.f, decoded_quad(packed.a, 5u, by), sum);
  sum = dot_quad(own.g, decoded_quad(packed.a, 6u, by), sum);
  return dot_quad(own.h, decoded_quad(packed.a, 7u, by), sum);
}
