// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
// Bindings: include/expert-gate-up-groups.wgsl.
//
// One workgroup: 32 values, four a lane, of up to eight pairs of one expert, whose weights it decodes once for them; an expert
// in another bank is left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-gate-up.wgsl.

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
