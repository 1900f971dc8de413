// The cache holds f16: a quad is 8 bytes, the first value in the lower half of the first word.
// Rounds once, when written: to nearest, ties to even; above 65,504 infinite; zeros keep their sign, a NaN stays a NaN.
// By hand: `pack2x16float` may round as the driver likes. From the bits: compilers may take every float for a number.
alias PageQuad = vec2<u32>;

const NORMAL = vec4<u32>(0x38800000u); // 2^-14
const BEYOND = vec4<u32>(0x477ff000u); // 65,520
const NAN_ABOVE = vec4<u32>(0x7f800000u);

fn page_values(quad: PageQuad) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y));
}

fn page_quad(values: vec4<f32>) -> PageQuad {
  let bits = bitcast<vec4<u32>>(values);
  let size = bits & vec4<u32>(0x7fffffffu);
  // The exponent's bias falls from 127 to 15, the fraction from 23 bits to 10.
  let moved = size - vec4<u32>(112u << 23u);
  let normal = (moved + 0xfffu + ((moved >> vec4<u32>(13u)) & vec4<u32>(1u))) >> vec4<u32>(13u);
  // Below 2^-14 in steps of 2^-24; `round` takes ties to even.
  let small = vec4<u32>(round(bitcast<vec4<f32>>(min(size, NORMAL)) * 16777216.0));
  let finite = select(normal, small, size < NORMAL);
  let number = select(finite, vec4<u32>(0x7c00u), size >= BEYOND);
  let halves = select(number, vec4<u32>(0x7e00u), size > NAN_ABOVE) | ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u));
  return vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
}
