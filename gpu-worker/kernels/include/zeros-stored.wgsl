// Zero points, one byte a group in the integers' offset binary, from params.W_ZEROS of a row; `base` in vec4<u32>.
fn zero_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  let word = w[base + params.W_ZEROS + group / 16u][(group / 4u) % 4u];
  return f32((word >> (8u * (group % 4u))) & 255u);
}

// The vec4 that holds a group's zero point and those beside it.
fn zero_vector(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> vec4<u32> {
  return w[base + params.W_ZEROS + group / 16u];
}

fn zero_in(zeros: vec4<u32>, group: u32) -> f32 {
  let pair = select(zeros.xy, zeros.zw, (group & 8u) != 0u);
  let word = select(pair.x, pair.y, (group & 4u) != 0u);
  return f32((word >> (8u * (group & 3u))) & 255u);
}
