// y[j, i] = weight[i] · (x[r, i] / sqrt(mean_i(x[r]²) + EPS)),  r = picked[j]
//
//   picked  u32 [picked rows], read: rows whose logits are wanted
//   x       f32 [rows, VECTORS] as vec4, read
//   weight  f32 [WIDTH] as vec4, read
//   y       f32 [picked rows, VECTORS] as vec4, write: padding too
//
// The norm is rms-norm.wgsl's, bit for bit. One workgroup: one picked row. Grid: x = picked rows.
struct Params {
  WIDTH: u32,
  VECTORS: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> picked: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = (params.WIDTH + 3u) / 4u;
  let base = picked[group.x] * params.VECTORS;
  var sum = 0.0;
  for (var strand = lane; strand < min(STRANDS, quads); strand += LANES) {
    var squares = 0.0;
    for (var quad = strand; quad < quads; quad += STRANDS) {
      squares = add_squares(within(x[base + quad], quad, params.WIDTH), squares);
    }
    sum += squares;
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var quad = lane; quad < quads; quad += LANES) {
    y[group.x * params.VECTORS + quad] = weight[quad] * (x[base + quad] / root);
  }
}
