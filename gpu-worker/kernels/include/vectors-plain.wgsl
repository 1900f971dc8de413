// Packed vectors of a format without scales.
fn vector_group(vector: u32) -> u32 {
  return 0u;
}

fn vector_zeros(w: ptr<storage, array<vec4<u32>>, read>, bases: vec4<u32>, group: u32) -> vec4<f32> {
  return vec4<f32>(0.0);
}

fn vector_scales(w: ptr<storage, array<vec4<u32>>, read>, bases: vec4<u32>, group: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn vector_quad(packed: vec4<u32>, quad: u32, zero: f32, scale: f32) -> vec4<f32> {
  return packed_quad(packed, quad);
}
