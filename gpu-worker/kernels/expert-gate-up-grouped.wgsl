// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
// Bindings: include/expert-gate-up-groups.wgsl.
//
// One workgroup: 32 values of up to eight pairs of one expert, whose weights it reads once; an expert in another bank is
// left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-gate-up.wgsl.

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
