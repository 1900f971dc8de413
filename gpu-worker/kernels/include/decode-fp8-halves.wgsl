// Eight bits, e4m3fn, times a scale, two at a time as f16: rounds once, as weights-fp8.wgsl's value times the scale does.
//
// With sign and size where f16 has them, a number is 2^-8 of what it means, denormals too: for devices that keep them in
// conversions. The scale makes good for 2^-8: for scales below 2^119.
struct Decoder {
  scale: f32,
}

fn decoder(zero: f32, scale: f32) -> Decoder {
  return Decoder(256.0 * scale);
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  let word = packed[quad];
  let even = two_of(word << 8u);
  let odd = two_of(word);
  return vec4<f32>(even.x, odd.x, even.y, odd.y) * vec4<f32>(by.scale);
}

// Of the upper byte of each half.
fn two_of(word: u32) -> vec2<f32> {
  return unpack2x16float(((word >> 1u) & 0x3f803f80u) | (word & 0x80008000u));
}

// For a whole vector: where one of its values is NaN all are, since no sum would be anything else.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  let above = (packed & vec4<u32>(0x7f7f7f7fu)) + vec4<u32>(0x01010101u);
  let has_nan = ((above.x | above.y | above.z | above.w) & 0x80808080u) != 0u;
  return Decoder(bitcast<f32>(select(bitcast<u32>(by.scale), 0x7fc00000u, has_nan)));
}
