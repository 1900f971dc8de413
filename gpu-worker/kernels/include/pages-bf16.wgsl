// The cache holds bf16: a quad is 8 bytes, the first value in the lower half of the first word.
// Rounds once, when written: to nearest, ties to even; infinities and signed zeros stay, a NaN stays a NaN.
alias PageQuad = vec2<u32>;

fn page_values(quad: PageQuad) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(quad.x << 16u, quad.x & 0xffff0000u, quad.y << 16u, quad.y & 0xffff0000u));
}

fn page_quad(values: vec4<f32>) -> PageQuad {
  let bits = bitcast<vec4<u32>>(values);
  let nearest = (bits + 0x7fffu + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u))) >> vec4<u32>(16u);
  // Decided from the bits: compilers may take every float for a number.
  let is_nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  let halves = select(nearest, (bits >> vec4<u32>(16u)) | vec4<u32>(0x40u), is_nan);
  return vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
}
