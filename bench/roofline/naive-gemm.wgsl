// y[r, n] = Σ_k w[n, k] · x[r, k] with a tile of 4 × 4 in registers: the usual first step from the naive product.
//
//   x        f32 [rows, K] as vec4, read
//   weights  [N, K] in the format of the include, read
//   y        f32 [rows, N], write
//
// One invocation: four rows of the matrix, four activation rows. Grid: x = N / 4 / 64, y = rows / 4. Sums K in one chain:
// not the bits of the order contract. Needs the includes of a weight format.
struct Params {
  K: u32,
  N: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = 4u * id.x;
  if (n >= params.N) {
    return;
  }
  let row = 4u * id.y;
  let quads = params.K / 4u;
  var sums = mat4x4<f32>();
  for (var unit = 0u; unit < params.K / 8u; unit += 1u) {
    let p = weight_unit(&weights, n * params.W_VECTORS, unit);
    let q = weight_unit(&weights, (n + 1u) * params.W_VECTORS, unit);
    let r = weight_unit(&weights, (n + 2u) * params.W_VECTORS, unit);
    let s = weight_unit(&weights, (n + 3u) * params.W_VECTORS, unit);
    for (var i = 0u; i < 4u; i += 1u) {
      let at = (row + i) * quads + 2u * unit;
      sums[i] = dot_quads(x[at], p.lo, q.lo, r.lo, s.lo, sums[i]);
      sums[i] = dot_quads(x[at + 1u], p.hi, q.hi, r.hi, s.hi, sums[i]);
    }
  }
  for (var i = 0u; i < 4u; i += 1u) {
    for (var j = 0u; j < 4u; j += 1u) {
      y[(row + i) * params.N + n + j] = sums[i][j];
    }
  }
}
