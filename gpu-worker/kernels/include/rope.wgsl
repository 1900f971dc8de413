// Rotary embedding of one pair: (a, b) → (a·cos − b·sin, b·cos + a·sin), each one product and one fma.

fn turn(a: f32, b: f32, cos_sin: vec2<f32>) -> vec2<f32> {
  return vec2<f32>(fma(a, cos_sin.x, -(b * cos_sin.y)), fma(b, cos_sin.x, a * cos_sin.y));
}

// Where the two values of a pair stand in a part of `width` values.
fn pair_at(pair: u32, width: u32, interleaved: bool) -> vec2<u32> {
  return select(vec2<u32>(pair, pair + width / 2u), vec2<u32>(2u * pair, 2u * pair + 1u), interleaved);
}
