// Units whose values may lie in several groups: decoded as they are fetched.
struct PackedUnit {
  unit: Unit,
}

fn packed_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> PackedUnit {
  return PackedUnit(weight_unit(w, base, unit));
}

fn unit_of(packed: PackedUnit) -> Unit {
  return packed.unit;
}
