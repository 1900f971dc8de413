// One row's products in four strands over K, added at the end.

fn dot_row(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32,
) -> vec4<f32> {
  let units = length / 8u;
  var a = vec4<f32>(0.0);
  var b = vec4<f32>(0.0);
  var c = vec4<f32>(0.0);
  var d = vec4<f32>(0.0);
  for (var unit = 0u; unit < units; unit += 1u) {
    let p = weight_unit(w, w_bases.x, unit);
    let q = weight_unit(w, w_bases.y, unit);
    let r = weight_unit(w, w_bases.z, unit);
    let s = weight_unit(w, w_bases.w, unit);
    let lo = x[x_base + 2u * unit];
    let hi = x[x_base + 2u * unit + 1u];
    a = fma(hi, p.hi, fma(lo, p.lo, a));
    b = fma(hi, q.hi, fma(lo, q.lo, b));
    c = fma(hi, r.hi, fma(lo, r.lo, c));
    d = fma(hi, s.hi, fma(lo, s.lo, d));
  }
  let strands = transpose(mat4x4<f32>(a, b, c, d));
  let sums = (strands[0] + strands[1]) + (strands[2] + strands[3]);
  return dot_rest(w, w_bases, x, x_base, 8u * units, length, sums);
}
