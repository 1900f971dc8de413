// The order contract of every matrix product, in one place:
//
//   dot(w, x) = Σ over chunks of 256, ascending, of (fma chain over the chunk's K, ascending, from 0)
//
// Needs a weights-*.wgsl before it. A weight row and an activation row are padded to units of 8 values; padding of
// weights is zero, padding of activations may hold anything and is masked here.
// Rounds: once per fma, once per chunk sum. The number of columns computed side by side never enters.

const UNITS_PER_CHUNK = 32u;

// One activation row: x[x_base ..], in vec4. `w_base` in vec4<u32>. `length` is K.
fn dot_row(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32,
) -> f32 {
  let whole = length / 8u;
  let units = (length + 7u) / 8u;
  var total = 0.0;
  for (var start = 0u; start < units; start += UNITS_PER_CHUNK) {
    var part = 0.0;
    let end = min(start + UNITS_PER_CHUNK, whole);
    for (var unit = start; unit < end; unit += 1u) {
      part = dot_unit(weight_unit(w, w_base, unit), x[x_base + 2u * unit], x[x_base + 2u * unit + 1u], part);
    }
    if (whole < units && whole < start + UNITS_PER_CHUNK) {
      let a = masked(x[x_base + 2u * whole], 8u * whole, length);
      let b = masked(x[x_base + 2u * whole + 1u], 8u * whole + 4u, length);
      part = dot_unit(weight_unit(w, w_base, whole), a, b, part);
    }
    total += part;
  }
  return total;
}

// Four activation rows against one weight row; each component is exactly `dot_row` of its row.
fn dot_rows(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: vec4<u32>,
  length: u32,
) -> vec4<f32> {
  let whole = length / 8u;
  let units = (length + 7u) / 8u;
  var total = vec4<f32>(0.0);
  for (var start = 0u; start < units; start += UNITS_PER_CHUNK) {
    var part = vec4<f32>(0.0);
    let end = min(start + UNITS_PER_CHUNK, whole);
    for (var unit = start; unit < end; unit += 1u) {
      let at = x_bases + vec4<u32>(2u * unit);
      let weights = weight_unit(w, w_base, unit);
      part = dot_quads(weights.lo, x[at.x], x[at.y], x[at.z], x[at.w], part);
      part = dot_quads(weights.hi, x[at.x + 1u], x[at.y + 1u], x[at.z + 1u], x[at.w + 1u], part);
    }
    if (whole < units && whole < start + UNITS_PER_CHUNK) {
      let at = x_bases + vec4<u32>(2u * whole);
      let k = 8u * whole;
      let weights = weight_unit(w, w_base, whole);
      part = dot_quads(
        weights.lo, masked(x[at.x], k, length), masked(x[at.y], k, length), masked(x[at.z], k, length),
        masked(x[at.w], k, length), part,
      );
      part = dot_quads(
        weights.hi, masked(x[at.x + 1u], k + 4u, length), masked(x[at.y + 1u], k + 4u, length),
        masked(x[at.z + 1u], k + 4u, length), masked(x[at.w + 1u], k + 4u, length), part,
      );
    }
    total += part;
  }
  return total;
}

fn weight_unit(w: ptr<storage, array<vec4<u32>>, read>, base: u32, unit: u32) -> Unit {
  let at = base + unit * VECTORS_PER_UNIT;
  return decode_unit(w[at], w[at + VECTORS_PER_UNIT - 1u]);
}

// The value at `index` of a weight row that starts at vec4<u32> `base`.
fn weight_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, index: u32) -> f32 {
  let unit = weight_unit(w, base, index / 8u);
  let quad = select(unit.lo, unit.hi, (index & 4u) != 0u);
  return quad[index & 3u];
}

fn dot_unit(w: Unit, a: vec4<f32>, b: vec4<f32>, sum: f32) -> f32 {
  var part = sum;
  part = fma(w.lo.x, a.x, part);
  part = fma(w.lo.y, a.y, part);
  part = fma(w.lo.z, a.z, part);
  part = fma(w.lo.w, a.w, part);
  part = fma(w.hi.x, b.x, part);
  part = fma(w.hi.y, b.y, part);
  part = fma(w.hi.z, b.z, part);
  part = fma(w.hi.w, b.w, part);
  return part;
}

fn dot_quads(
  w: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: vec4<f32>,
) -> vec4<f32> {
  var part = sum;
  part = fma(vec4<f32>(w.x), vec4<f32>(a.x, b.x, c.x, d.x), part);
  part = fma(vec4<f32>(w.y), vec4<f32>(a.y, b.y, c.y, d.y), part);
  part = fma(vec4<f32>(w.z), vec4<f32>(a.z, b.z, c.z, d.z), part);
  part = fma(vec4<f32>(w.w), vec4<f32>(a.w, b.w, c.w, d.w), part);
  return part;
}

// Values at k ≥ length become 0, whatever the padding holds.
fn masked(x: vec4<f32>, k: u32, length: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), x, vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(length));
}
