// y[r, h · VALUE + v] = Σ_c W_v[h, v, c] · mixed[r, h, c], a workgroup for a tile of one head's values and one row: the bits of
// value-up.wgsl.
//
// Bindings as there. Grid: x = heads of this window · VALUE / tile_rows(), y = rows. Rounds as dot.wgsl.
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

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let lanes = lanes_for(params.K);
  let tiles = (params.VALUE + tile_rows(lanes) - 1u) / tile_rows(lanes);
  let window_head = group.x / tiles;
  let head = params.HEAD_START + window_head;
  let weights = (window_head * (params.NOPE + params.VALUE) + params.NOPE) * params.W_VECTORS;
  let v = group.x % tiles * tile_rows(lanes);
  let values = (group.y * params.HEADS + head) * params.MIXED_VECTORS;
  var sum = 0.0;
  for (var first = 0u; first < lanes.chunk_count; first += lanes.chunks) {
    let own = own_chunk(&mixed, values, chunk_of(lanes, lane, first));
    sum = add_chunks(&kv_b, weights, v, params.VALUE, &mixed, own, lanes, first, sum, lane);
  }
  if (lane < tile_rows(lanes) && v + lane < params.VALUE) {
    y[group.y * params.Y_STRIDE + head * params.VALUE + v + lane] = sum;
  }
}
