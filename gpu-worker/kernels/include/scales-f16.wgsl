// Scales stored as f16, one a group, from params.W_SCALES of a row; `base` in vec4<u32>.
//
//   sign 1 | exponent 5, bias 15 | fraction 10     exponent 0: fraction · 2^-24;  31: infinity or NaN
//
// Exact, by integers: a GPU's own conversion may flush denormals.
fn scale_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, group: u32) -> f32 {
  let word = w[base + params.W_SCALES + group / 8u][(group / 2u) % 4u];
  return half_value((word >> (16u * (group % 2u))) & 0xffffu);
}

fn half_value(half: u32) -> f32 {
  let size = half & 0x7fffu;
  let small = bitcast<u32>(f32(size) * 5.9604644775390625e-8);
  // 112 = 127 − 15: from one exponent bias to the other; twice for infinity and NaN.
  let normal = (size << 13u) + select(112u << 23u, 224u << 23u, size >= 0x7c00u);
  return bitcast<f32>(select(normal, small, size < 0x400u) | ((half & 0x8000u) << 16u));
}
