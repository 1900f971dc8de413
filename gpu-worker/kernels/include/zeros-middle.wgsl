// No zero points: the middle of the integers means 0.
fn zero_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  return MIDDLE;
}

fn zero_vector(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> vec4<u32> {
  return vec4<u32>(0u);
}

fn zero_in(zeros: vec4<u32>, group: u32) -> f32 {
  return MIDDLE;
}
