// The end of an expert layer, and the norm that the next one begins with:
//
//   v[r, i]      = Σ_rank weights[r, rank] · y[r · TOP + rank, i]
//   x[r, i]      ← x[r, i] + norm(v[r])[i]                       norm: RMSNorm by `norm`, or nothing without HAS_NORM
//   normed[r, i] = RMSNorm(x[r])[i] by `next`                    not computed without HAS_NEXT
//
//   weights  f32 [rows, TOP], read
//   y        f32 [rows · TOP, VECTORS] as vec4, read
//   norm     f32 [WIDTH] as vec4, read
//   next     f32 [WIDTH] as vec4, read
//   x        f32 [rows, VECTORS] as vec4, read and written, padding too
//   normed   f32 [rows, VECTORS] as vec4, write: holds v meanwhile; every lane reads only what it wrote
//
// The order contract: v = fma(weight, y, v) from 0 in rank order; then rms-norm.wgsl's norm, residual-norm.wgsl's sum and
// norm, bit for bit. One workgroup: one row. Grid: x = rows.
struct Params {
  WIDTH: u32,
  VECTORS: u32,
  TOP: u32,
  HAS_NORM: u32,
  HAS_NEXT: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> next: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> normed: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = (params.WIDTH + 3u) / 4u;
  let base = group.x * params.VECTORS;
  var sum = 0.0;
  for (var strand = lane; strand < min(STRANDS, quads); strand += LANES) {
    var squares = 0.0;
    for (var quad = strand; quad < quads; quad += STRANDS) {
      let v = mixed(group.x * params.TOP, quad);
      normed[base + quad] = v;
      squares = add_squares(within(v, quad, params.WIDTH), squares);
    }
    sum += squares;
  }
  if (params.HAS_NORM != 0u) {
    let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
    for (var quad = lane; quad < quads; quad += LANES) {
      normed[base + quad] = norm[quad] * (normed[base + quad] / root);
    }
    workgroupBarrier();
  }
  sum = 0.0;
  for (var strand = lane; strand < min(STRANDS, quads); strand += LANES) {
    var squares = 0.0;
    for (var quad = strand; quad < quads; quad += STRANDS) {
      let v = x[base + quad] + normed[base + quad];
      x[base + quad] = v;
      squares = add_squares(within(v, quad, params.WIDTH), squares);
    }
    sum += squares;
  }
  if (params.HAS_NEXT == 0u) {
    return;
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var quad = lane; quad < quads; quad += LANES) {
    normed[base + quad] = next[quad] * (x[base + quad] / root);
  }
}

// Four values of a row's experts, the first of its pairs being `pair`.
fn mixed(pair: u32, quad: u32) -> vec4<f32> {
  var v = vec4<f32>();
  // Three are fetched together: a lane that waits for each alone waits most of the time.
  for (var at = pair; at < pair + params.TOP; at += 3u) {
    let last = pair + params.TOP - 1u;
    let a = weighed(at, quad);
    let b = weighed(min(at + 1u, last), quad);
    let c = weighed(min(at + 2u, last), quad);
    v = fma(vec4<f32>(a.weight), a.values, v);
    v = select(v, fma(vec4<f32>(b.weight), b.values, v), at + 1u <= last);
    v = select(v, fma(vec4<f32>(c.weight), c.values, v), at + 2u <= last);
  }
  return v;
}

struct Weighed {
  weight: f32,
  values: vec4<f32>,
}

fn weighed(pair: u32, quad: u32) -> Weighed {
  return Weighed(weights[pair], y[pair * params.VECTORS + quad]);
}
