// Weights stored as bf16: eight consecutive values are one vec4<u32>, the lower half first. Exact: a shift.
struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let packed = w[base + unit];
  let even = bitcast<vec4<f32>>(packed << vec4<u32>(16u));
  let odd = bitcast<vec4<f32>>(packed & vec4<u32>(0xffff0000u));
  return Unit(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

// A packed vec4<u32> holds two quads.
const VECTOR_QUADS = 2u;

fn packed_quad(packed: vec4<u32>, quad: u32) -> vec4<f32> {
  let words = select(packed.xy, packed.zw, quad != 0u);
  return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}
