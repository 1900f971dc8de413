// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
//   groups  as expert-groups.wgsl leaves it, read: pair = row · TOP + rank
//   places  vec2<u32> [EXPERTS], read: (bank, slot) of each expert of this layer
//   x       f32 [rows, X_STRIDE] as vec4, read
//   gate    one bank of row records [slots, WIDTH, K], read;  up  the like, read
//   h       f32 [pairs, H_STRIDE], write
//
// One workgroup: 32 values of up to eight pairs of one expert, whose weights it reads once; an expert in another bank is
// left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-gate-up.wgsl.
struct Params {
  K: u32,
  WIDTH: u32,
  TOP: u32,
  BANK: u32,
  PAIRS_AT: u32,
  X_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  H_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> groups: array<u32>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gate: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> up: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> h: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(CHUNK_LANES * ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = TILE_ROWS * group.x;
  let item = 4u * group.y;
  let count = groups[item + 2u];
  if (count == 0u) {
    return;
  }
  let place = places[groups[item]];
  if (place.x != params.BANK) {
    return;
  }
  let first = params.PAIRS_AT + groups[item + 1u];
  var x_bases: array<u32, COLUMNS>;
  for (var column = 0u; column < COLUMNS; column += 1u) {
    let pair = groups[first + min(column, count - 1u)];
    x_bases[column] = pair / params.TOP * params.X_VECTORS;
  }
  let w_base = place.y * params.WIDTH * params.W_VECTORS;
  let g = dot_tile(&gate, w_base, n, params.WIDTH, &x, x_bases, params.K, lane);
  let u = dot_tile(&up, w_base, n, params.WIDTH, &x, x_bases, params.K, lane);
  let column = lane / ROW_LANES;
  if (column >= count) {
    return;
  }
  let pair = groups[first + column];
  let i = n + 4u * (lane % ROW_LANES);
  for (var j = 0u; j < 4u && i + j < params.WIDTH; j += 1u) {
    h[pair * params.H_STRIDE + i + j] = swiglu(g[j], u[j]);
  }
}
