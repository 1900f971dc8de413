// Groups of any size: a unit of 8 may lie in several. Padding after the last column belongs to the last group.
//
//   w = (u − zero) · scale      rounds once, in the product
fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let values = unit_values(w, base, unit);
  let lo = vec4<u32>(8u * unit) + vec4<u32>(0u, 1u, 2u, 3u);
  let hi = lo + vec4<u32>(4u);
  var group = lo.x / params.W_GROUP;
  var result = scaled(values, zero_at(w, base, group), scale_at(w, base, group));
  // Each later group takes over from its first column on.
  while (group < params.W_LAST_GROUP && (group + 1u) * params.W_GROUP <= hi.w) {
    group += 1u;
    let start = vec4<u32>(group * params.W_GROUP);
    let later = scaled(values, zero_at(w, base, group), scale_at(w, base, group));
    result = Unit(select(result.lo, later.lo, lo >= start), select(result.hi, later.hi, hi >= start));
  }
  return result;
}

fn scaled(values: Unit, zero: f32, scale: f32) -> Unit {
  return Unit((values.lo - vec4<f32>(zero)) * vec4<f32>(scale), (values.hi - vec4<f32>(zero)) * vec4<f32>(scale));
}
