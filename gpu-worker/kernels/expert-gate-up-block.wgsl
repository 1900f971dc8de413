// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
// Bindings: include/expert-gate-up-groups.wgsl.
//
// One workgroup: half a block's rows of gate, the same rows of up, for up to 8 · COLUMN_LANES pairs of one expert; an
// expert in another bank is left to that bank's dispatch. Grid: x = WIDTH / (4 · ROW_LANES), y = items. The bits of
// expert-gate-up.wgsl.

// The expert's slot, the first of its rows, and where `count` pairs stand in `groups`.
struct Block {
  slot: u32,
  n: u32,
  first: u32,
  count: u32,
}

fn block_unit(block: Block, row: u32, unit: u32) -> PackedUnit {
  let half = 4u * ROW_LANES;
  let n = min(block.n + row % half, params.WIDTH - 1u);
  let base = (block.slot * params.WIDTH + n) * params.W_VECTORS;
  if (row < half) {
    return packed_unit(&gate, base, unit);
  }
  return packed_unit(&up, base, unit);
}

fn block_quad(block: Block, column: u32, quad: u32) -> vec4<f32> {
  let row = groups[block.first + min(column, block.count - 1u)] / params.TOP;
  return x[row * params.X_VECTORS + quad];
}

@compute @workgroup_size(BLOCK_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = 4u * group.y;
  let count = groups[item + 2u];
  if (count == 0u) {
    return;
  }
  let place = places[groups[item]];
  if (place.x != params.BANK) {
    return;
  }
  let block = Block(place.y, 4u * ROW_LANES * group.x, params.PAIRS_AT + groups[item + 1u], count);
  let sums = dot_block(block, params.K, lane);
  write_pair(block, 0u, lane, sums.lo.a, sums.hi.a);
  write_pair(block, 1u, lane, sums.lo.b, sums.hi.b);
  write_pair(block, 2u, lane, sums.lo.c, sums.hi.c);
  write_pair(block, 3u, lane, sums.lo.d, sums.hi.d);
  write_pair(block, 4u, lane, sums.lo.e, sums.hi.e);
  write_pair(block, 5u, lane, sums.lo.f, sums.hi.f);
  write_pair(block, 6u, lane, sums.lo.g, sums.hi.g);
  write_pair(block, 7u, lane, sums.lo.h, sums.hi.h);
}

fn write_pair(block: Block, i: u32, lane: u32, g: vec4<f32>, u: vec4<f32>) {
  let column = lane / ROW_LANES + i * COLUMN_LANES;
  if (column >= block.count) {
    return;
  }
  let at = groups[block.first + column] * params.H_STRIDE;
  let n = block.n + lane % ROW_LANES;
  for (var j = 0u; j < 4u && n + j * ROW_LANES < params.WIDTH; j += 1u) {
    h[at + n + j * ROW_LANES] = swiglu(g[j], u[j]);
  }
}
