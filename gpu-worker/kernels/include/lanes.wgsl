// dot.wgsl's products by eight lanes that pass activations to one another: its bits.
//
// For software drivers: there a load takes some eight instructions for each value of each lane, whatever its address, and a
// value from another lane takes one. So no value is loaded twice: lane l holds the activations of row l / 2 (and 4 + l / 2),
// quad l % 2 of a unit, and four weight rows of its own. A weight is loaded and decoded once for four or eight rows.
// One loop over units, whose chunks end inside: a loop in a loop costs such a driver some percent, a chunk written out a third.
//
// Needs subgroups.wgsl, first, and the includes of a weight format. Eight lanes work together, `lane` counts among
// them, and all of them must come here.

const LANES = 8u;

// [activation row][weight row of this lane]
struct Eight {
  first: mat4x4<f32>,
  last: mat4x4<f32>,
}

// One activation row against one weight row a lane: where only one is wanted, the loads of its weights are all the time, and
// few rows of a large matrix at a time stay in a cache. `w_base`: the lane's own; `x_base`: the same for all.
fn dot_one(
  w: ptr<storage, array<vec4<u32>>, read>, w_base: u32,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32, lane: u32,
) -> f32 {
  let units = (length + 7u) / 8u;
  var total = 0.0;
  var part = 0.0;
  for (var unit = 0u; unit < units; unit += 1u) {
    let weights = weight_unit(w, w_base, unit);
    let k = 8u * unit + lane;
    let mine = select(0.0, x[x_base + k / 4u][k % 4u], k < length);
    part = fma(subgroupShuffle(mine, 0u), weights.lo.x, part);
    part = fma(subgroupShuffle(mine, 1u), weights.lo.y, part);
    part = fma(subgroupShuffle(mine, 2u), weights.lo.z, part);
    part = fma(subgroupShuffle(mine, 3u), weights.lo.w, part);
    part = fma(subgroupShuffle(mine, 4u), weights.hi.x, part);
    part = fma(subgroupShuffle(mine, 5u), weights.hi.y, part);
    part = fma(subgroupShuffle(mine, 6u), weights.hi.z, part);
    part = fma(subgroupShuffle(mine, 7u), weights.hi.w, part);
    if ((unit + 1u) % UNITS_PER_CHUNK == 0u) {
      total += part;
      part = 0.0;
    }
  }
  return total + part;
}

// Activation row i against the lane's four weight rows. `x_base`: where row lane / 2 begins, in vec4<f32>.
fn dot_four(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_base: u32,
  length: u32, lane: u32,
) -> mat4x4<f32> {
  let units = (length + 7u) / 8u;
  var total = mat4x4<f32>();
  var part = mat4x4<f32>();
  for (var unit = 0u; unit < units; unit += 1u) {
    let weights = four_units(w, w_bases, unit);
    part = add_unit(activation(x, x_base, 2u * unit + lane % 2u, length), weights, part);
    if ((unit + 1u) % UNITS_PER_CHUNK == 0u) {
      total += part;
      part = mat4x4<f32>();
    }
  }
  return total + part;
}

// The like for eight activation rows. `x_bases`: where rows lane / 2 and 4 + lane / 2 begin.
fn dot_eight(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: vec2<u32>,
  length: u32, lane: u32,
) -> Eight {
  let units = (length + 7u) / 8u;
  var total = Eight();
  var part = Eight();
  for (var unit = 0u; unit < units; unit += 1u) {
    let weights = four_units(w, w_bases, unit);
    let quad = 2u * unit + lane % 2u;
    part.first = add_unit(activation(x, x_bases.x, quad, length), weights, part.first);
    part.last = add_unit(activation(x, x_bases.y, quad, length), weights, part.last);
    if ((unit + 1u) % UNITS_PER_CHUNK == 0u) {
      total = Eight(total.first + part.first, total.last + part.last);
      part = Eight();
    }
  }
  return Eight(total.first + part.first, total.last + part.last);
}

// Eight values of each of the lane's weight rows.
struct FourUnits {
  p: Unit,
  q: Unit,
  r: Unit,
  s: Unit,
}

fn four_units(w: ptr<storage, array<vec4<u32>>, read>, bases: vec4<u32>, unit: u32) -> FourUnits {
  return FourUnits(
    weight_unit(w, bases.x, unit), weight_unit(w, bases.y, unit), weight_unit(w, bases.z, unit), weight_unit(w, bases.w, unit),
  );
}

// `mine`: the quad of activations that this lane holds for the others.
fn add_unit(mine: vec4<f32>, w: FourUnits, sums: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    add_row(mine, 0u, w, sums[0]), add_row(mine, 2u, w, sums[1]), add_row(mine, 4u, w, sums[2]), add_row(mine, 6u, w, sums[3]),
  );
}

fn add_row(mine: vec4<f32>, owner: u32, w: FourUnits, sum: vec4<f32>) -> vec4<f32> {
  let half = dot_quads(subgroupShuffle(mine, owner), w.p.lo, w.q.lo, w.r.lo, w.s.lo, sum);
  return dot_quads(subgroupShuffle(mine, owner + 1u), w.p.hi, w.q.hi, w.r.hi, w.s.hi, half);
}
