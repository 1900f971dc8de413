// Weights stored as bf16: eight consecutive values are one vec4<u32>, the lower half first. Exact: a shift.
const VECTORS_PER_UNIT = 1u;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn decode_unit(first: vec4<u32>, last: vec4<u32>) -> Unit {
  let even = bitcast<vec4<f32>>(first << vec4<u32>(16u));
  let odd = bitcast<vec4<f32>>(first & vec4<u32>(0xffff0000u));
  return Unit(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}
