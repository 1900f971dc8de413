// y[pair, n] = Σ_i down[e, n, i] · h[pair, i],  e the expert of the pair
//
//   chosen  u32 [rows · TOP], read: pair = row · TOP + rank
//   places  vec2<u32> [EXPERTS], read: (bank, slot) of each expert of this layer
//   h       f32 [pairs, H_STRIDE] as vec4, read
//   down    one bank of row records [slots, WIDTH, K], read
//   y       f32 [pairs, Y_STRIDE], write
//
// One workgroup: TILE_ROWS values of one pair; a pair whose expert lives in another bank is left to that bank's dispatch.
// Grid: x = WIDTH / TILE_ROWS, y = TOP, z = rows. The bits of expert-down.wgsl.
struct Params {
  K: u32,
  WIDTH: u32,
  TOP: u32,
  BANK: u32,
  H_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  Y_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> chosen: array<u32>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> down: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(32u * WARPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = TILE_ROWS * group.x;
  let pair = group.z * params.TOP + group.y;
  let place = places[chosen[pair]];
  if (place.x != params.BANK) {
    return;
  }
  let w_base = place.y * params.WIDTH * params.W_VECTORS;
  var sum = 0.0;
  for (var first = 0u; first < chunk_count(); first += lane_count()) {
    let own = own_chunk(&h, pair * params.H_VECTORS, chunk_of(lane, first));
    sum = add_chunks(&down, w_base, n, params.WIDTH, &h, own, first, sum, lane);
  }
  if (lane < TILE_ROWS && n + lane < params.WIDTH) {
    y[pair * params.Y_STRIDE + n + lane] = sum;
  }
}
