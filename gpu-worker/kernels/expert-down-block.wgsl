// y[pair, n] = Σ_i down[e, n, i] · h[pair, i],  e the expert of the pair
//
// Bindings: include/expert-down-groups.wgsl.
//
// One workgroup: a block's rows for up to 8 · COLUMN_LANES pairs of one expert; an expert in another bank is left to that
// bank's dispatch. Grid: x = WIDTH / (8 · ROW_LANES), y = items. The bits of expert-down.wgsl.

// The expert's slot, the first of its rows, and where `count` pairs stand in `groups`.
struct Block {
  slot: u32,
  n: u32,
  first: u32,
  count: u32,
}

fn block_unit(block: Block, row: u32, unit: u32) -> PackedUnit {
  let n = min(block.n + row, params.WIDTH - 1u);
  return packed_unit(&down, (block.slot * params.WIDTH + n) * params.W_VECTORS, unit);
}

fn block_quad(block: Block, column: u32, quad: u32) -> vec4<f32> {
  let pair = groups[block.first + min(column, block.count - 1u)];
  return h[pair * params.H_VECTORS + quad];
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
  let block = Block(place.y, 8u * ROW_LANES * group.x, params.PAIRS_AT + groups[item + 1u], count);
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

fn write_pair(block: Block, i: u32, lane: u32, lo: vec4<f32>, hi: vec4<f32>) {
  let column = lane / ROW_LANES + i * COLUMN_LANES;
  if (column >= block.count) {
    return;
  }
  let at = groups[block.first + column] * params.Y_STRIDE;
  let n = block.n + lane % ROW_LANES;
  let middle = n + 4u * ROW_LANES;
  for (var j = 0u; j < 4u && n + j * ROW_LANES < params.WIDTH; j += 1u) {
    y[at + n + j * ROW_LANES] = lo[j];
  }
  for (var j = 0u; j < 4u && middle + j * ROW_LANES < params.WIDTH; j += 1u) {
    y[at + middle + j * ROW_LANES] = hi[j];
  }
}
