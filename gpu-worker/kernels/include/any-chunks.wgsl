// Chunks of 32 columns value by value: groups of any size, a last chunk of fewer columns. Nothing is loaded ahead.

// A chunk's number and where the row of its activations begins.
struct Chunk {
  index: u32,
  x_base: u32,
}

fn own_chunk(x: ptr<storage, array<vec4<f32>>, read>, x_base: u32, index: u32) -> Chunk {
  return Chunk(index, x_base);
}

struct PackedChunk {
  base: u32,
}

fn packed_chunk(w: ptr<storage, array<vec4<u32>>, read>, base: u32, own: Chunk) -> PackedChunk {
  return PackedChunk(base);
}

fn dot_chunk(
  w: ptr<storage, array<vec4<u32>>, read>, packed: PackedChunk, x: ptr<storage, array<vec4<f32>>, read>, own: Chunk,
) -> f32 {
  let end = min((params.K + 7u) / 8u, (own.index + 1u) * UNITS_PER_CHUNK);
  var sum = 0.0;
  for (var unit = own.index * UNITS_PER_CHUNK; unit < end; unit += 1u) {
    let values = weight_unit(w, packed.base, unit);
    sum = dot_quad(activation(x, own.x_base, 2u * unit, params.K), values.lo, sum);
    sum = dot_quad(activation(x, own.x_base, 2u * unit + 1u, params.K), values.hi, sum);
  }
  return sum;
}

fn dot_quad(x: vec4<f32>, w: vec4<f32>, sum: f32) -> f32 {
  return fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, sum))));
}
