// Packed vectors of a format without scales: nothing to know of a row.
struct Decoder {
  nothing: u32,
}

fn decoded_quad(packed: vec4<u32>, quad: u32, by: Decoder) -> vec4<f32> {
  return packed_quad(packed, quad);
}

fn vector_group(vector: u32) -> u32 {
  return 0u;
}

fn decoder_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> Decoder {
  return Decoder(0u);
}

// For a whole vector: nothing more to know.
fn whole_decoder(by: Decoder, packed: vec4<u32>) -> Decoder {
  return by;
}
