// Rows in quads of four values; what lies behind a row's last value counts as zero.

// `v` is quad `quad` of a row of `width` values.
fn within(v: vec4<f32>, quad: u32, width: u32) -> vec4<f32> {
  return select(vec4<f32>(), v, vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(width));
}

fn add_squares(v: vec4<f32>, sum: f32) -> f32 {
  return fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum))));
}
