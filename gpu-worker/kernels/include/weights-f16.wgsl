// Weights stored as f16: eight consecutive values are one vec4<u32>, the lower half first. Exact: a conversion upwards.
struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let packed = w[base + unit];
  return Unit(
    vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y)),
    vec4<f32>(unpack2x16float(packed.z), unpack2x16float(packed.w)),
  );
}

// A packed vec4<u32> holds two quads.
const VECTOR_QUADS = 2u;

fn packed_quad(packed: vec4<u32>, quad: u32) -> vec4<f32> {
  let words = select(packed.xy, packed.zw, quad != 0u);
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
