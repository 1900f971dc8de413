// Scales stored as f32, one a group, from params.W_SCALES of a row; `base` in vec4<u32>. Exact.
fn scale_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  return bitcast<f32>(w[base + params.W_SCALES + group / 4u][group % 4u]);
}

// The vec4 that holds a group's scale and those beside it.
fn scale_vector(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> vec4<u32> {
  return w[base + params.W_SCALES + group / 4u];
}

fn scale_in(scales: vec4<u32>, group: u32) -> f32 {
  let pair = select(scales.xy, scales.zw, (group & 2u) != 0u);
  return bitcast<f32>(select(pair.x, pair.y, (group & 1u) != 0u));
}
