// Groups of whole units of 8: eight values share zero point and scale.
//
//   w = (u − zero) · scale      rounds once, in the product
fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let values = unit_values(w, base, unit);
  let group = 8u * unit / params.W_GROUP;
  let zero = vec4<f32>(zero_at(w, base, group));
  let scale = vec4<f32>(scale_at(w, base, group));
  return Unit((values.lo - zero) * scale, (values.hi - zero) * scale);
}
