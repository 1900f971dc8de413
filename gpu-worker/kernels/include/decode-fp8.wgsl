// Eight bits, e4m3fn, times a scale: rounds once, as weights-fp8.wgsl's value times the scale does, in half its instructions.
//
// With exponent 112 in place of its own 0 … 15 on top, a number n is 2^-8 of what it means; a small one (exponent 0) has a
// leading bit too many: 2 n − 2^-14 is what it means. That is less than n there and not less elsewhere, and exact. The
// scale makes good for 2^-8: for scales below 2^119.
struct Decoder {
  scale: f32,
}

fn decoder(zero: f32, scale: f32) -> Decoder {
  return Decoder(256.0 * scale);
}

// Not a constant to compilers: of `(bits & constant) | constant` NVIDIA's makes two instructions, of this one.
fn exponent_112() -> u32 {
  return (112u << 23u) + u32(params.K == 0u);
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  let word = packed[quad];
  let sizes = vec4<u32>(word << 20u, word << 12u, word << 4u, word >> 4u) & vec4<u32>(0x07f00000u);
  let n = bitcast<vec4<f32>>(sizes | vec4<u32>(exponent_112()));
  let size = min(n, fma(n, vec4<f32>(2.0), vec4<f32>(-6.103515625e-5)));
  let signs = vec4<u32>(word << 24u, word << 16u, word << 8u, word) & vec4<u32>(0x80000000u);
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(size) | signs) * vec4<f32>(by.scale);
}

// For a whole vector: where one of its values is NaN all are, since no sum would be anything else.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  let above = ((packed & vec4<u32>(0x7f7f7f7fu)) + vec4<u32>(0x01010101u)) & vec4<u32>(0x80808080u);
  let has_nan = (above.x | above.y | above.z | above.w) != 0u;
  return Decoder(bitcast<f32>(select(bitcast<u32>(by.scale), 0x7fc00000u, has_nan)));
}
