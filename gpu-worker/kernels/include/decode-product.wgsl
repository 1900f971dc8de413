//   w = (u − zero) · scale      rounds once, in the product
struct Decoder {
  zero: f32,
  scale: f32,
}

fn decoder(zero: f32, scale: f32) -> Decoder {
  return Decoder(zero, scale);
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  return packed_quad(packed, quad, by.zero) * vec4<f32>(by.scale);
}

// For a whole vector: nothing more to know.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  return by;
}
