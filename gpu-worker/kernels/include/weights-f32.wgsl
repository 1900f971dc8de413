// Weights stored as f32: eight consecutive values are two vec4<u32>. Exact.
struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let at = base + 2u * unit;
  return Unit(bitcast<vec4<f32>>(w[at]), bitcast<vec4<f32>>(w[at + 1u]));
}

// A packed vec4<u32> holds one quad.
const VECTOR_QUADS = 1u;

fn packed_quad(packed: vec4<u32>, quad: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(packed);
}
