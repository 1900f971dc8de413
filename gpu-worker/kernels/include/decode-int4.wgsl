// Four bits under a scale of 16: (u − zero) · scale by one fma and without shifting every nibble to the end.
//
// A nibble at bit 11, 15 or 19 of a mantissa is u + 4096, u + 256 or u + 16. With at most 13 bits of that sum less u and 11
// of a scale their product is exact, so that the fma rounds what the product of (u − zero) and scale rounds: the same
// bits, for scales below 2^115.
struct Decoder {
  scale: f32,
  // What stands above u − zero, times scale, with nibbles at bits 11, 15 and 19.
  above: vec3<f32>,
}

fn decoder(zero: f32, scale: f32) -> Decoder {
  return Decoder(scale, (vec3<f32>(4096.0, 256.0, 16.0) + vec3<f32>(zero)) * vec3<f32>(-scale));
}

// Not a constant to compilers: of `(bits & constant) | constant` NVIDIA's makes two instructions, of this one.
fn leading_ones() -> vec3<u32> {
  return vec3<u32>(0x45800000u, 0x43800000u, 0x41800000u) + vec3<u32>(u32(params.K == 0u));
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  let word = packed[quad / 2u];
  let is_high = quad % 2u != 0u;
  let a = vec4<u32>(word << 11u, word << 11u, word << 11u, word >> 1u);
  let b = vec4<u32>(word >> 1u, word >> 1u, word >> 13u, word >> 13u);
  let ones = leading_ones();
  let mask_a = vec4<u32>(0x7800u, 0x78000u, 0x780000u, 0x7800u);
  let mask_b = vec4<u32>(0x78000u, 0x780000u, 0x7800u, 0x78000u);
  let bits = (select(a, b, is_high) & select(mask_a, mask_b, is_high)) | select(ones.xyzx, ones.yzxy, is_high);
  return fma(bitcast<vec4<f32>>(bits), vec4<f32>(by.scale), select(by.above.xyzx, by.above.yzxy, is_high));
}

// For a whole vector: nothing more to know.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  return by;
}
