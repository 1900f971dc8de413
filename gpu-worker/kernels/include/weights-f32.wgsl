// Weights stored as f32: eight consecutive values are two vec4<u32>. Exact.
const VECTORS_PER_UNIT = 2u;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn decode_unit(first: vec4<u32>, last: vec4<u32>) -> Unit {
  return Unit(bitcast<vec4<f32>>(first), bitcast<vec4<f32>>(last));
}
