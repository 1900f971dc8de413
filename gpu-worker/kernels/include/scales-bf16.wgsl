// Scales stored as bf16, one a group, from params.W_SCALES of a row; `base` in vec4<u32>. Exact: a shift.
fn scale_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  let word = w[base + params.W_SCALES + group / 8u][(group / 2u) % 4u];
  return bitcast<f32>((word >> (16u * (group % 2u))) << 16u);
}
