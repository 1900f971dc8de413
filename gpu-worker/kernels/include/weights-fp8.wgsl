// Weights stored as fp8 e4m3fn: four consecutive values are one u32, the lowest byte first.
//
//   sign 1 | exponent 4, bias 7 | fraction 3     exponent 0: fraction · 2^-9;  0x7f, 0xff: NaN;  no infinities
//
// Exact, by integers: a float path would need denormals, which a GPU may flush.
const MIDDLE = 0.0;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

// Eight values before the scale; `base` in vec4<u32>.
fn unit_values(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let at = base + unit / 2u;
  let first = 2u * (unit % 2u);
  return Unit(four_e4m3(w[at][first]), four_e4m3(w[at][first + 1u]));
}

fn four_e4m3(word: u32) -> vec4<f32> {
  let bytes = vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u);
  let size = bytes & vec4<u32>(0x7fu);
  // 120 = 127 − 7: from one exponent bias to the other.
  let normal = (size << vec4<u32>(20u)) + vec4<u32>(120u << 23u);
  // 2^-6 + fraction · 2^-9 less 2^-6: a conversion would be slower than all the rest.
  let small = bitcast<vec4<u32>>(bitcast<vec4<f32>>(normal + vec4<u32>(1u << 23u)) - vec4<f32>(0.015625));
  let number = select(normal, small, size < vec4<u32>(8u));
  let magnitude = select(number, vec4<u32>(0x7fc00000u), size == vec4<u32>(0x7fu));
  return bitcast<vec4<f32>>(magnitude | ((bytes & vec4<u32>(0x80u)) << vec4<u32>(24u)));
}

// A packed vec4<u32> holds four quads; there are no zero points.
const VECTOR_QUADS = 4u;

fn packed_quad(packed: vec4<u32>, quad: u32, zero: f32) -> vec4<f32> {
  return four_e4m3(packed[quad]);
}
