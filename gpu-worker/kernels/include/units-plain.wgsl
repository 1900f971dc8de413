// Units of a format without scales, fetched first and decoded later.
struct PackedUnit {
  lo: vec4<u32>,
  hi: vec4<u32>,
}

fn packed_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> PackedUnit {
  let quad = 2u * unit;
  return PackedUnit((*w)[base + quad / VECTOR_QUADS], (*w)[base + (quad + 1u) / VECTOR_QUADS]);
}

fn unit_of(packed: PackedUnit) -> Unit {
  return Unit(packed_quad(packed.lo, 0u), packed_quad(packed.hi, 1u % VECTOR_QUADS));
}
