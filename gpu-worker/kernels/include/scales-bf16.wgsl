// Scales stored as bf16, one a group, from params.W_SCALES of a row; `base` in vec4<u32>. Exact: a shift.
fn scale_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  let word = w[base + params.W_SCALES + group / 8u][(group / 2u) % 4u];
  return bitcast<f32>((word >> (16u * (group % 2u))) << 16u);
}

// The vec4 that holds a group's scale and those beside it.
fn scale_vector(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> vec4<u32> {
  return w[base + params.W_SCALES + group / 8u];
}

fn scale_in(scales: vec4<u32>, group: u32) -> f32 {
  let pair = select(scales.xy, scales.zw, (group & 4u) != 0u);
  let word = select(pair.x, pair.y, (group & 2u) != 0u);
  return bitcast<f32>((word >> (16u * (group & 1u))) << 16u);
}
