// Stands in for include/dot.wgsl behind one of dot-s*.wgsl, with its functions, and keeps no chunks: several rows sum K in
// one strand. Rows of activations and weights as there.

fn dot_rows(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: vec4<u32>,
  length: u32,
) -> mat4x4<f32> {
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
    let lo = 2u * unit;
    a = dot_quads(x[x_bases.x + lo], p.lo, q.lo, r.lo, s.lo, a);
    b = dot_quads(x[x_bases.y + lo], p.lo, q.lo, r.lo, s.lo, b);
    c = dot_quads(x[x_bases.z + lo], p.lo, q.lo, r.lo, s.lo, c);
    d = dot_quads(x[x_bases.w + lo], p.lo, q.lo, r.lo, s.lo, d);
    let hi = lo + 1u;
    a = dot_quads(x[x_bases.x + hi], p.hi, q.hi, r.hi, s.hi, a);
    b = dot_quads(x[x_bases.y + hi], p.hi, q.hi, r.hi, s.hi, b);
    c = dot_quads(x[x_bases.z + hi], p.hi, q.hi, r.hi, s.hi, c);
    d = dot_quads(x[x_bases.w + hi], p.hi, q.hi, r.hi, s.hi, d);
  }
  return mat4x4<f32>(
    dot_rest(w, w_bases, x, x_bases.x, 8u * units, length, a),
    dot_rest(w, w_bases, x, x_bases.y, 8u * units, length, b),
    dot_rest(w, w_bases, x, x_bases.z, 8u * units, length, c),
    dot_rest(w, w_bases, x, x_bases.w, 8u * units, length, d),
  );
}

// What does not fill a unit.
fn dot_rest(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  start: u32, length: u32, sums: vec4<f32>,
) -> vec4<f32> {
  var all = sums;
  for (var k = start; k < length; k += 1u) {
    let column = vec4<f32>(
      weight_at(w, w_bases.x, k), weight_at(w, w_bases.y, k), weight_at(w, w_bases.z, k), weight_at(w, w_bases.w, k),
    );
    all = fma(column, vec4<f32>(x[x_base + k / 4u][k & 3u]), all);
  }
  return all;
}

fn weight_rows(n: u32, rows: u32, vectors: u32) -> vec4<u32> {
  return min(vec4<u32>(n) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u)) * vectors;
}

fn weight_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, index: u32) -> f32 {
  let unit = weight_unit(w, base, index / 8u);
  let quad = select(unit.lo, unit.hi, (index & 4u) != 0u);
  return quad[index & 3u];
}
