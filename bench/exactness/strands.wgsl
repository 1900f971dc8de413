// Products of one activation row in several strands over K, added at the end: each stands in for the function of its name.

fn dot_row(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32,
) -> vec4<f32> {
  let units = (length + 7u) / 8u;
  var first = vec4<f32>(0.0);
  var last = vec4<f32>(0.0);
  for (var unit = 0u; unit < units; unit += 1u) {
    let p = weight_unit(w, w_bases.x, unit);
    let q = weight_unit(w, w_bases.y, unit);
    let r = weight_unit(w, w_bases.z, unit);
    let s = weight_unit(w, w_bases.w, unit);
    first = dot_quads(activation(x, x_base, 2u * unit, length), p.lo, q.lo, r.lo, s.lo, first);
    last = dot_quads(activation(x, x_base, 2u * unit + 1u, length), p.hi, q.hi, r.hi, s.hi, last);
  }
  return first + last;
}

fn dot_one(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32, lane: u32,
) -> f32 {
  let units = (length + 7u) / 8u;
  var a = 0.0;
  var b = 0.0;
  var c = 0.0;
  var d = 0.0;
  for (var unit = 0u; unit < units; unit += 1u) {
    let weights = weight_unit(w, w_base, unit);
    let k = 8u * unit + lane;
    let mine = select(0.0, x[x_base + k / 4u][k % 4u], k < length);
    a = fma(subgroupShuffle(mine, 0u), weights.lo.x, a);
    b = fma(subgroupShuffle(mine, 1u), weights.lo.y, b);
    c = fma(subgroupShuffle(mine, 2u), weights.lo.z, c);
    d = fma(subgroupShuffle(mine, 3u), weights.lo.w, d);
    a = fma(subgroupShuffle(mine, 4u), weights.hi.x, a);
    b = fma(subgroupShuffle(mine, 5u), weights.hi.y, b);
    c = fma(subgroupShuffle(mine, 6u), weights.hi.z, c);
    d = fma(subgroupShuffle(mine, 7u), weights.hi.w, d);
  }
  return (a + b) + (c + d);
}
