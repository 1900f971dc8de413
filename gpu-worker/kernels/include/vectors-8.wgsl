// A chunk of a weight row in eight vectors: f32. Needs whole-chunks.wgsl.
struct PackedChunk {
  a: vec4<u32>,
  b: vec4<u32>,
  c: vec4<u32>,
  d: vec4<u32>,
  e: vec4<u32>,
  f: vec4<u32>,
  g: vec4<u32>,
  h: vec4<u32>,
  by: Decoder,
}

fn packed_chunk(w: ptr<storage, array<vec4<u32>>, read>, base: u32, own: Chunk) -> PackedChunk {
  let at = base + 8u * own.index;
  let by = decoder_at(w, base, own.group);
  return PackedChunk(
    (*w)[at], (*w)[at + 1u], (*w)[at + 2u], (*w)[at + 3u],
    (*w)[at + 4u], (*w)[at + 5u], (*w)[at + 6u], (*w)[at + 7u], by,
  );
}

fn dot_chunk(
  w: ptr<storage, array<vec4<u32>>, read>, packed: PackedChunk, x: ptr<storage, array<vec4<f32>>, read>, own: Chunk,
) -> f32 {
  let by = packed.by;
  var sum = dot_quad(own.a, decoded_quad(packed.a, 0u, by), 0.0);
  sum = dot_quad(own.b, decoded_quad(packed.b, 0u, by), sum);
  sum = dot_quad(own.c, decoded_quad(packed.c, 0u, by), sum);
  sum = dot_quad(own.d, decoded_quad(packed.d, 0u, by), sum);
  sum = dot_quad(own.e, decoded_quad(packed.e, 0u, by), sum);
  sum = dot_quad(own.f, decoded_quad(packed.f, 0u, by), sum);
  sum = dot_quad(own.g, decoded_quad(packed.g, 0u, by), sum);
  return dot_quad(own.h, decoded_quad(packed.h, 0u, by), sum);
}
