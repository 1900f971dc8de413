// Groups of packed vectors where a vec4<u32> holds all of a chunk's scales and another all of its zero points: a power of
// two columns a group, one scale vector a chunk at most.
struct RowGroups {
  scales: vec4<u32>,
  zeros: vec4<u32>,
}

fn row_groups(w: ptr<storage, array<vec4<u32>>, read>, base: u32, chunk: u32) -> RowGroups {
  let group = (256u * chunk) >> firstTrailingBit(params.W_GROUP);
  return RowGroups(scale_vector(w, base, group), zero_vector(w, base, group));
}

fn decoder_in(groups: RowGroups, vector: u32) -> Decoder {
  let group = (4u * VECTOR_QUADS * vector) >> firstTrailingBit(params.W_GROUP);
  return decoder(zero_in(groups.zeros, group), scale_in(groups.scales, group));
}
