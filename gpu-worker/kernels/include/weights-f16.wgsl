// Weights stored as f16: eight consecutive values are one vec4<u32>, the lower half first. Exact: a conversion upwards.
const VECTORS_PER_UNIT = 1u;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn decode_unit(first: vec4<u32>, last: vec4<u32>) -> Unit {
  return Unit(
    vec4<f32>(unpack2x16float(first.x), unpack2x16float(first.y)),
    vec4<f32>(unpack2x16float(first.z), unpack2x16float(first.w)),
  );
}
