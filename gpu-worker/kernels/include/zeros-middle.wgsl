// No zero points: the middle of the integers means 0.
fn zero_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  return MIDDLE;
}
