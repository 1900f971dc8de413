// Packed vectors of a format with scales, each within one group.
fn vector_group(vector: u32) -> u32 {
  return 4u * VECTOR_QUADS * vector / params.W_GROUP;
}

fn decoder_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> Decoder {
  return decoder(zero_at(w, base, group), scale_at(w, base, group));
}
