// Scales stored as f32, one a group, from params.W_SCALES of a row; `base` in vec4<u32>. Exact.
fn scale_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  return bitcast<f32>(w[base + params.W_SCALES + group / 4u][group % 4u]);
}
