// x[r, i] ← x[r, i] + delta[r, i];  y[r, i] = weight[i] · (x[r, i] / sqrt(mean_i(x²) + EPS))
//
//   x       f32 [rows, VECTORS] as vec4, read and written, padding too
//   delta   f32 [rows, VECTORS] as vec4, read
//   weight  f32 [WIDTH] as vec4, read
//   y       f32 [rows, VECTORS] as vec4, write: padding too
//
// The norm is rms-norm.wgsl's, bit for bit. One workgroup: one row. Grid: x = rows.
// Rounds: the residual sum, then as rms-norm.wgsl.
struct Params {
  WIDTH: u32,
  VECTORS: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = (params.WIDTH + 3u) / 4u;
  let base = group.x * params.VECTORS;
  var sum = 0.0;
  for (var strand = lane; strand < min(STRANDS, quads); strand += LANES) {
    var squares = 0.0;
    for (var quad = strand; quad < quads; quad += STRANDS) {
      let v = x[base + quad] + delta[base + quad];
      x[base + quad] = v;
      squares = add_squares(within(v, quad, params.WIDTH), squares);
    }
    sum += squares;
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  // Each lane reads back only what it wrote itself.
  for (var quad = lane; quad < quads; quad += LANES) {
    y[base + quad] = weight[quad] * (x[base + quad] / root);
  }
}
