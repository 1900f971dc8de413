// delta[r, i] = norm(Σ_rank weight[r, rank] · y[r · TOP + rank, i] + shared[r, i]),  norm: RMSNorm, or nothing
//
//   weights  f32 [rows, TOP], read
//   y        f32 [rows · TOP, STRIDE], read
//   shared   f32 [rows, STRIDE], read: not used without HAS_SHARED
//   norm     one row [WIDTH] as stored, read: not used without HAS_NORM
//   delta    f32 [rows, STRIDE], read_write: every lane reads only what it wrote
//
// The order contract: acc = fma(weight, y, acc) from 0 in rank order, then + shared, then the norm as rms-norm.wgsl.
// One workgroup: one row. Grid: x = rows.
struct Params {
  WIDTH: u32,
  STRIDE: u32,
  TOP: u32,
  HAS_SHARED: u32,
  HAS_NORM: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> shared_out: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> delta: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  var sum = 0.0;
  for (var i = lane; i < params.WIDTH; i += 64u) {
    var value = 0.0;
    for (var rank = 0u; rank < params.TOP; rank += 1u) {
      value = fma(weights[row * params.TOP + rank], y[(row * params.TOP + rank) * params.STRIDE + i], value);
    }
    if (params.HAS_SHARED != 0u) {
      value += shared_out[row * params.STRIDE + i];
    }
    delta[row * params.STRIDE + i] = value;
    sum = fma(value, value, sum);
  }
  if (params.HAS_NORM == 0u) {
    return;
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var i = lane; i < params.WIDTH; i += 64u) {
    delta[row * params.STRIDE + i] = weight_at(&norm, 0u, i) * (delta[row * params.STRIDE + i] / root);
  }
}
