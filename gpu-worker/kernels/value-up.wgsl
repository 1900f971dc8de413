// y[r, h · VALUE + v] = Σ_c W_v[h, v, c] · mixed[r, h, c]
//
//   mixed  f32 [rows, HEADS, MIXED_VECTORS] as vec4, read: LATENT values a head, then padding
//   kv_b   one window of kv_b_proj, row records, read: a head's NOPE rows W_k, then its VALUE rows W_v, of LATENT
//   y      f32 [rows, Y_STRIDE], write
//
// One invocation: four values of one head. Grid: x = heads of this window · VALUE / 256, y = rows. Rounds as dot.wgsl.
struct Params {
  NOPE: u32,
  VALUE: u32,
  // LATENT: columns of a weight row.
  K: u32,
  MIXED_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  HEAD_START: u32,
  WINDOW_HEADS: u32,
  HEADS: u32,
  Y_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv_b: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = (params.VALUE + 3u) / 4u;
  let i = group.x * 64u + lane;
  let window_head = i / quads;
  if (window_head >= params.WINDOW_HEADS) {
    return;
  }
  let head = params.HEAD_START + window_head;
  let row = group.y;
  let v = 4u * (i % quads);
  let first = (window_head * (params.NOPE + params.VALUE) + params.NOPE) * params.W_VECTORS;
  let w_bases = vec4<u32>(first) + weight_rows(v, params.VALUE, params.W_VECTORS);
  let base = (row * params.HEADS + head) * params.MIXED_VECTORS;
  let sums = dot_row(&kv_b, w_bases, &mixed, base, params.K);
  for (var j = 0u; j < min(4u, params.VALUE - v); j += 1u) {
    y[row * params.Y_STRIDE + head * params.VALUE + v + j] = sums[j];
  }
}
