// Eight bits under a scale of 16: (u − zero) · scale by one fma.
//
// A byte at bit 15 of a mantissa is u + 256. With 9 bits of that sum less u and 11 of a scale their product is exact, so
// that the fma rounds what the product of (u − zero) and scale rounds: the same bits, for scales below 2^118.
struct Decoder {
  scale: f32,
  // What stands above u − zero, times scale.
  above: f32,
}

fn decoder(zero: f32, scale: f32) -> Decoder {
  return Decoder(scale, (256.0 + zero) * -scale);
}

// Not a constant to compilers: of `(bits & constant) | constant` NVIDIA's makes two instructions, of this one.
fn leading_ones() -> u32 {
  return 0x43800000u + u32(params.K == 0u);
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  let word = packed[quad];
  let bytes = vec4<u32>(word << 15u, word << 7u, word >> 1u, word >> 9u);
  let bits = (bytes & vec4<u32>(0x7f8000u)) | vec4<u32>(leading_ones());
  return fma(bitcast<vec4<f32>>(bits), vec4<f32>(by.scale), vec4<f32>(by.above));
}

// For a whole vector: nothing more to know.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  return by;
}
