// Chunks of 32 columns as packed vectors that share a scale: all loads first, then all products. Needs a decode include
// and that of the format's vectors a chunk; K is a multiple of 32.

// A chunk's number and its activations.
struct Chunk {
  index: u32,
  // Of its scale.
  group: u32,
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
  e: vec4<f32>,
  f: vec4<f32>,
  g: vec4<f32>,
  h: vec4<f32>,
}

fn own_chunk(x: ptr<storage, array<vec4<f32>>, read>, x_base: u32, index: u32) -> Chunk {
  let at = x_base + 8u * index;
  return Chunk(
    index, 8u * UNITS_PER_CHUNK * index / params.W_GROUP,
    (*x)[at], (*x)[at + 1u], (*x)[at + 2u], (*x)[at + 3u], (*x)[at + 4u], (*x)[at + 5u], (*x)[at + 6u], (*x)[at + 7u],
  );
}

fn dot_quad(x: vec4<f32>, w: vec4<f32>, sum: f32) -> f32 {
  return fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, sum))));
}
