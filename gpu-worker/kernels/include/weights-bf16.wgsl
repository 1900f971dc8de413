// Weights stored as bf16: eight consecutive values are one vec4<u32>, the lower half first. Exact: a shift.
struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let packed = w[base + unit];
  let even = bitcast<vec4<f32>>(packed << vec4<u32>(16u));
  let odd = bitcast<vec4<f32>>(packed & vec4<u32>(0xffff0000u));
  return Unit(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}
