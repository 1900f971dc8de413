// Weights stored as f32: eight consecutive values are two vec4<u32>. Exact.
struct Unit {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let at = base + 2u * unit;
  return Unit(bitcast<vec4<f32>>(w[at]), bitcast<vec4<f32>>(w[at + 1u]));
}
