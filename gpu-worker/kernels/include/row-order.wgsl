// The order of tokens by likelihood, in whole numbers; and who owns which of a row: quad q of four ids belongs to strand
// q % 512, and strands t and t + 256 to owner t.
const OWNERS = 256u;
const STRANDS = 512u;
const NO_ID = 0xffffffffu;

// Order-preserving: a < b exactly when key_of(a) < key_of(b); −0 counts as 0.
fn key_of(value: f32) -> u32 {
  let bits = select(bitcast<u32>(value), 0u, value == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// `key_of` each.
fn keys_of(values: vec4<f32>) -> vec4<u32> {
  let bits = select(bitcast<vec4<u32>>(values), vec4<u32>(), values == vec4<f32>());
  return select(bits | vec4<u32>(0x80000000u), ~bits, bits >= vec4<u32>(0x80000000u));
}

// The higher key; of equal keys the lower id.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}
