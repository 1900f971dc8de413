// Units of a format with scales, fetched first and decoded later; eight values share zero point and scale.
struct PackedUnit {
  words: vec2<u32>,
  zero: f32,
  scale: f32,
}

fn packed_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> PackedUnit {
  let quad = 2u * unit;
  let vector = base + quad / VECTOR_QUADS;
  // One word or two.
  let first = quad % VECTOR_QUADS * 4u / VECTOR_QUADS;
  let last = (quad + 1u) % VECTOR_QUADS * 4u / VECTOR_QUADS;
  let group = 8u * unit / params.W_GROUP;
  return PackedUnit(vec2<u32>((*w)[vector][first], (*w)[vector][last]), zero_at(w, base, group), scale_at(w, base, group));
}

fn unit_of(packed: PackedUnit) -> Unit {
  let words = vec4<u32>(packed.words, 0u, 0u);
  let by = whole_decoder(decoder(packed.zero, packed.scale), words);
  return Unit(decoded_quad(words, 0u, by), decoded_quad(words, 1u, by));
}
