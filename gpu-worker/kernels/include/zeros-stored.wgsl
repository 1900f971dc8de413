// Zero points, one byte a group in the integers' offset binary, from params.W_ZEROS of a row; `base` in vec4<u32>.
fn zero_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  let word = w[base + params.W_ZEROS + group / 16u][(group / 4u) % 4u];
  return f32((word >> (8u * (group % 4u))) & 255u);
}
