// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
//   groups  as expert-groups.wgsl leaves it, read: pair = row · TOP + rank
//   places  vec2<u32> [EXPERTS], read: (bank, slot) of each expert of this layer
//   x       f32 [rows, X_STRIDE] as vec4, read
//   gate    one bank of row records [slots, WIDTH, K], read;  up  the like, read
//   h       f32 [pairs, H_STRIDE], write
//
// One workgroup: 32 values, four a lane, of up to eight pairs of one expert, whose weights it decodes once for them; an expert
// in another bank is left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-gate-up.wgsl.
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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = 4u * (group.x * LANES + lane);
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
  // Of activation rows lane / 2 and 4 + lane / 2.
  let columns = min(vec2<u32>(lane / 2u) + vec2<u32>(0u, 4u), vec2<u32>(count - 1u));
  let pairs = vec2<u32>(groups[first + columns.x], groups[first + columns.y]);
  let x_bases = pairs / params.TOP * params.X_VECTORS;
  let w_bases = vec4<u32>(place.y * params.WIDTH * params.W_VECTORS) + weight_rows(n, params.WIDTH, params.W_VECTORS);
  if (count <= 4u) {
    let g = dot_four(&gate, w_bases, &x, x_bases.x, params.K, lane);
    let u = dot_four(&up, w_bases, &x, x_bases.x, params.K, lane);
    keep(n, pairs.x, count, g, u);
  } else {
    let g = dot_eight(&gate, w_bases, &x, x_bases, params.K, lane);
    let u = dot_eight(&up, w_bases, &x, x_bases, params.K, lane);
    keep(n, pairs.x, 4u, g.first, u.first);
    keep(n, pairs.y, count - 4u, g.last, u.last);
  }
}

// Lane 2 · i holds the pair of sums i.
fn keep(n: u32, pair: u32, count: u32, g: mat4x4<f32>, u: mat4x4<f32>) {
  keep_pair(n, subgroupShuffle(pair, 0u), true, g[0], u[0]);
  keep_pair(n, subgroupShuffle(pair, 2u), count > 1u, g[1], u[1]);
  keep_pair(n, subgroupShuffle(pair, 4u), count > 2u, g[2], u[2]);
  keep_pair(n, subgroupShuffle(pair, 6u), count > 3u, g[3], u[3]);
}

fn keep_pair(n: u32, pair: u32, is_there: bool, g: vec4<f32>, u: vec4<f32>) {
  if (is_there) {
    for (var i = 0u; i < 4u && n + i < params.WIDTH; i += 1u) {
      h[pair * params.H_STRIDE + n + i] = swiglu(g[i], u[i]);
    }
  }
}
