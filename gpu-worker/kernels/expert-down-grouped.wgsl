// y[pair, n] = Σ_i down[e, n, i] · h[pair, i],  e the expert of the pair
//
// Bindings: include/expert-down-groups.wgsl.
//
// One workgroup: 32 values of up to eight pairs of one expert, whose weights it reads once; an expert in another bank is
// left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-down.wgsl.

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
    x_bases[column] = pair * params.H_VECTORS;
  }
  let w_base = place.y * params.WIDTH * params.W_VECTORS;
  let sums = dot_tile(&down, w_base, n, params.WIDTH, &h, x_bases, params.K, lane);
  let column = lane / ROW_LANES;
  if (column >= count) {
    return;
  }
  let pair = groups[first + column];
  let i = n + 4u * (lane % ROW_LANES);
  for (var j = 0u; j < 4u && i + j < params.WIDTH; j += 1u) {
    y[pair * params.Y_STRIDE + i + j] = sums[j];
  }
}
