// The order contract of every matrix product, in one place:
//
//   dot(w, x) = Σ over chunks of 32, ascending, of (fma chain over the chunk's K, ascending, from 0)
//
// Needs the includes of a weight format and quads.wgsl. Weight rows and activation rows come in units of 8 values;
// padding of weights is finite, padding of activations may hold anything and is masked here.
// Rounds: once per fma, once per chunk sum. The number of columns computed side by side never enters. A sum of nothing may be
// added after the last chunk: it changes no bit, since no total is −0.

// 32 columns: one vec4<u32> of int4, one group of its scales. weight-shader.ts knows it as CHUNK_COLUMNS.
const UNITS_PER_CHUNK = 4u;

// One activation row against four weight rows; component i is the product with weight row w_bases[i].
// `w_bases` in vec4<u32>, `x_base` in vec4<f32>; `length` is K.
fn dot_row(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32,
) -> vec4<f32> {
  let units = (length + 7u) / 8u;
  var total = vec4<f32>(0.0);
  var part = vec4<f32>(0.0);
  for (var unit = 0u; unit < units; unit += 1u) {
    let p = weight_unit(w, w_bases.x, unit);
    let q = weight_unit(w, w_bases.y, unit);
    let r = weight_unit(w, w_bases.z, unit);
    let s = weight_unit(w, w_bases.w, unit);
    part = dot_quads(activation(x, x_base, 2u * unit, length), p.lo, q.lo, r.lo, s.lo, part);
    part = dot_quads(activation(x, x_base, 2u * unit + 1u, length), p.hi, q.hi, r.hi, s.hi, part);
    if ((unit + 1u) % UNITS_PER_CHUNK == 0u) {
      total += part;
      part = vec4<f32>(0.0);
    }
  }
  return total + part;
}

// Four activation rows against four weight rows: result[i][j] is `dot_row` of activation row i with weight row j.
fn dot_rows(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: vec4<u32>,
  length: u32,
) -> mat4x4<f32> {
  let units = (length + 7u) / 8u;
  var total = mat4x4<f32>();
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
    a = dot_quads(activation(x, x_bases.x, lo, length), p.lo, q.lo, r.lo, s.lo, a);
    b = dot_quads(activation(x, x_bases.y, lo, length), p.lo, q.lo, r.lo, s.lo, b);
    c = dot_quads(activation(x, x_bases.z, lo, length), p.lo, q.lo, r.lo, s.lo, c);
    d = dot_quads(activation(x, x_bases.w, lo, length), p.lo, q.lo, r.lo, s.lo, d);
    let hi = lo + 1u;
    a = dot_quads(activation(x, x_bases.x, hi, length), p.hi, q.hi, r.hi, s.hi, a);
    b = dot_quads(activation(x, x_bases.y, hi, length), p.hi, q.hi, r.hi, s.hi, b);
    c = dot_quads(activation(x, x_bases.z, hi, length), p.hi, q.hi, r.hi, s.hi, c);
    d = dot_quads(activation(x, x_bases.w, hi, length), p.hi, q.hi, r.hi, s.hi, d);
    if ((unit + 1u) % UNITS_PER_CHUNK == 0u) {
      total += mat4x4<f32>(a, b, c, d);
      a = vec4<f32>(0.0);
      b = vec4<f32>(0.0);
      c = vec4<f32>(0.0);
      d = vec4<f32>(0.0);
    }
  }
  return total + mat4x4<f32>(a, b, c, d);
}

// Bases of weight rows n … n + 3 in a window; rows past its last repeat it, and nobody keeps their sums.
fn weight_rows(n: u32, rows: u32, vectors: u32) -> vec4<u32> {
  return min(vec4<u32>(n) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u)) * vectors;
}

// Values 4q … 4q + 3 of an activation row; those from `length` on are 0, whatever the padding holds.
fn activation(x: ptr<storage, array<vec4<f32>>, read>, base: u32, quad: u32, length: u32) -> vec4<f32> {
  let at = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), x[base + quad], at < vec4<u32>(length));
}

// The value at `index` of a weight row that starts at vec4<u32> `base`.
fn weight_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, index: u32) -> f32 {
  let unit = weight_unit(w, base, index / 8u);
  let quad = select(unit.lo, unit.hi, (index & 4u) != 0u);
  return quad[index & 3u];
}
