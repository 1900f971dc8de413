// y[r, i] = weight[i] · (x[r, i] / sqrt(mean_i(x²) + EPS))
//
//   x       f32 [rows, X_VECTORS] as vec4, read
//   weight  f32 [WIDTH] as vec4, read
//   y       f32 [rows, Y_VECTORS] as vec4, write: padding too
//
// One workgroup: one row, summed as row-sum.wgsl says. Grid: x = rows.
// Rounds: each fma, the tree, mean, root, quotient, product.
struct Params {
  WIDTH: u32,
  X_VECTORS: u32,
  Y_VECTORS: u32,
  // 1 / WIDTH
  PER_VALUE: f32,
  EPS: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = (params.WIDTH + 3u) / 4u;
  let base = group.x * params.X_VECTORS;
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
    y[group.x * params.Y_VECTORS + quad] = weight[quad] * (x[base + quad] / root);
  }
}
