// One row's products in one strand over K.

fn dot_row(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32,
) -> vec4<f32> {
  let units = length / 8u;
  var sums = vec4<f32>(0.0);
  for (var unit = 0u; unit < units; unit += 1u) {
    let p = weight_unit(w, w_bases.x, unit);
    let q = weight_unit(w, w_bases.y, unit);
    let r = weight_unit(w, w_bases.z, unit);
    let s = weight_unit(w, w_bases.w, unit);
    sums = dot_quads(x[x_base + 2u * unit], p.lo, q.lo, r.lo, s.lo, sums);
    sums = dot_quads(x[x_base + 2u * unit + 1u], p.hi, q.hi, r.hi, s.hi, sums);
  }
  return dot_rest(w, w_bases, x, x_base, 8u * units, length, sums);
}
