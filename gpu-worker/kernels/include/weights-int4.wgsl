// Weights of four bits in offset binary: eight consecutive values are one u32, the lowest nibble first. Exact.
const MIDDLE = 8.0;

struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

// Eight values before zero point and scale; `base` in vec4<u32>.
fn unit_values(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let nibbles = vec4<u32>(w[base + unit / 4u][unit % 4u]);
  let lo = (nibbles >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  let hi = (nibbles >> vec4<u32>(16u, 20u, 24u, 28u)) & vec4<u32>(15u);
  return Unit(vec4<f32>(lo), vec4<f32>(hi));
}

// A packed vec4<u32> holds eight quads.
const VECTOR_QUADS = 8u;

// Values less the zero point: as the last bits of 2^23, of which both differ by exactly that.
fn packed_quad(packed: vec4<u32>, quad: u32, zero: f32) -> vec4<f32> {
  let nibbles = vec4<u32>(packed[quad / 2u] >> (16u * (quad % 2u)));
  let bits = ((nibbles >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) | vec4<u32>(0x4b000000u);
  return bitcast<vec4<f32>>(bits) - vec4<f32>(8388608.0 + zero);
}
