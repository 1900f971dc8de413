// y[pair, n] = Σ_i down[e, n, i] · h[pair, i],  e the expert of the pair
//
// Bindings: include/expert-down-groups.wgsl.
//
// One workgroup: 32 values, four a lane, of up to eight pairs of one expert, whose weights it decodes once for them; an expert
// in another bank is left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-down.wgsl.

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
  let h_bases = pairs * params.H_VECTORS;
  let w_bases = vec4<u32>(place.y * params.WIDTH * params.W_VECTORS) + weight_rows(n, params.WIDTH, params.W_VECTORS);
  if (count <= 4u) {
    keep(n, pairs.x, count, dot_four(&down, w_bases, &h, h_bases.x, params.K, lane));
  } else {
    let sums = dot_eight(&down, w_bases, &h, h_bases, params.K, lane);
    keep(n, pairs.x, 4u, sums.first);
    keep(n, pairs.y, count - 4u, sums.last);
  }
}

// Lane 2 · i holds the pair of sums i.
fn keep(n: u32, pair: u32, count: u32, sums: mat4x4<f32>) {
  keep_pair(n, subgroupShuffle(pair, 0u), true, sums[0]);
  keep_pair(n, subgroupShuffle(pair, 2u), count > 1u, sums[1]);
  keep_pair(n, subgroupShuffle(pair, 4u), count > 2u, sums[2]);
  keep_pair(n, subgroupShuffle(pair, 6u), count > 3u, sums[3]);
}

fn keep_pair(n: u32, pair: u32, is_there: bool, sums: vec4<f32>) {
  if (is_there) {
    for (var i = 0u; i < 4u && n + i < params.WIDTH; i += 1u) {
      y[pair * params.Y_STRIDE + n + i] = sums[i];
    }
  }
}
