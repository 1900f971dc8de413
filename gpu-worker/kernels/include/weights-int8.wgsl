// Weights of eight bits in offset binary: four consecutive values are one u32, the lowest byte first. Exact.
const MIDDLE = 128.0;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

// Eight values before zero point and scale; `base` in vec4<u32>. A row's length is a whole vec4, so both words are its.
fn unit_values(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let at = base + unit / 2u;
  let first = 2u * (unit % 2u);
  return Unit(four_bytes(w[at][first]), four_bytes(w[at][first + 1u]));
}

fn four_bytes(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

// A packed vec4<u32> holds four quads.
const VECTOR_QUADS = 4u;

// Values less the zero point: as the last bits of 2^23, of which both differ by exactly that.
fn packed_quad(packed: vec4<u32>, quad: u32, zero: f32) -> vec4<f32> {
  let bits = ((vec4<u32>(packed[quad]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)) | vec4<u32>(0x4b000000u);
  return bitcast<vec4<f32>>(bits) - vec4<f32>(8388608.0 + zero);
}
