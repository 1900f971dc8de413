// latent-attention.wgsl by 8 lanes of one subgroup that pass values around in place of memory: the same bits.
//
// Bindings and contract as there. For software drivers, where a load costs as much as a dozen products, whatever its
// address, and a barrier more, while a value from another lane costs nothing. One workgroup: 8 lanes of one subgroup that
// branch alike, one item, four heads (past the last head: the last again, unkept). A lane scores keys lane and lane + 8
// of sixteen and mixes columns lane, lane + 8, …, which are vec4. Grid: x = heads / 4, y = items.
// Size of workgroup memory; loops take the same size from Params, which compilers cannot unroll.
override OUT_CELLS: u32;

const HEADS_TOGETHER = 4u;
const LANES = 8u;

// A lane reads what it wrote itself, alone: scores, then weights [keys], a component a head; [turns, heads, lanes].
var<workgroup> scores: array<vec4<f32>, TILE>;
var<workgroup> split_out: array<vec4<f32>, OUT_CELLS>;
var<workgroup> total_out: array<vec4<f32>, OUT_CELLS>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let row = item.x;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let tiles = (keys + TILE - 1u) / TILE;
  let is_whole = item.y == WHOLE;
  let first_head = group.x * HEADS_TOGETHER;
  let own_head = min(first_head + lane % HEADS_TOGETHER, params.HEADS - 1u);
  let own_query = (row * params.HEADS + own_head) * params.ENTRY_VECTORS;
  var total = Sum(vec4<f32>(0.0), vec4<f32>(LOWEST));
  let first_tile = select(item.y * TILES_PER_SPLIT, 0u, is_whole);
  let end_tile = select(min(first_tile + TILES_PER_SPLIT, tiles), tiles, is_whole);
  for (var split = first_tile; split < end_tile; split += TILES_PER_SPLIT) {
    var part = Sum(vec4<f32>(0.0), vec4<f32>(LOWEST));
    for (var tile = split; tile < min(split + TILES_PER_SPLIT, end_tile); tile += 1u) {
      let first = tile * TILE;
      let count = min(TILE, keys - first);
      let tile_max = max(part.max, score_tile(own_query, table, first, count, lane));
      let shrink = exp_each(part.max - tile_max);
      for (var i = 0u; LANES * i < count; i += 1u) {
        let at = LANES * i + lane;
        scores[at] = exp_each(scores[at] - tile_max);
      }
      let sum = mix_tile(table, first, count, lane, shrink, tile == split);
      part = Sum(fma(part.sum, shrink, sum), tile_max);
    }
    if (is_whole) {
      total = merge(total, part, lane, split == 0u);
    } else {
      keep_part(group.y, first_head, part, lane);
    }
  }
  if (is_whole) {
    keep_whole(row, first_head, total.sum, lane);
  }
}

// Σ weights and the scores' maximum so far, a component a head.
struct Sum {
  sum: vec4<f32>,
  max: vec4<f32>,
}

// Leaves the tile's scores and returns the highest of each head.
fn score_tile(query: u32, table: u32, first: u32, count: u32, lane: u32) -> vec4<f32> {
  var highest = vec4<f32>(LOWEST);
  for (var start = 0u; start < count; start += 2u * LANES) {
    let base = entry_of(table, first + start);
    // Past the last key: the last again, unkept.
    let left = count - start;
    let low = base + min(lane, left - 1u) * params.ENTRY_VECTORS;
    let high = base + min(lane + LANES, left - 1u) * params.ENTRY_VECTORS;
    var total_low = vec4<f32>(0.0);
    var total_high = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.ENTRY_VECTORS; chunk += 64u) {
      var part_low = vec4<f32>(0.0);
      var part_high = vec4<f32>(0.0);
      for (var i = chunk; i < min(chunk + 64u, params.ENTRY_VECTORS); i += 2u) {
        // A quad of one head, and the next quad in the upper lanes.
        let own = queries[query + min(i + lane / HEADS_TOGETHER, params.ENTRY_VECTORS - 1u)];
        let quads = heads_quad(own, 0u);
        part_low = add_quad(page_values(pages[low + i]), quads, part_low);
        part_high = add_quad(page_values(pages[high + i]), quads, part_high);
        if (i + 1u < params.ENTRY_VECTORS) {
          let next = heads_quad(own, HEADS_TOGETHER);
          part_low = add_quad(page_values(pages[low + i + 1u]), next, part_low);
          part_high = add_quad(page_values(pages[high + i + 1u]), next, part_high);
        }
      }
      total_low += part_low;
      total_high += part_high;
    }
    let score_low = select(vec4<f32>(LOWEST), params.SCALE * total_low, lane < left);
    let score_high = select(vec4<f32>(LOWEST), params.SCALE * total_high, lane + LANES < left);
    scores[start + lane] = score_low;
    scores[start + LANES + lane] = score_high;
    highest = max(highest, max(score_low, score_high));
  }
  highest = max(highest, subgroupShuffleXor(highest, 1u));
  highest = max(highest, subgroupShuffleXor(highest, 2u));
  return max(highest, subgroupShuffleXor(highest, 4u));
}

// Column k holds value k of the quads that lanes `start` … `start` + 3 have, a component a head.
fn heads_quad(own: vec4<f32>, start: u32) -> mat4x4<f32> {
  let a = subgroupShuffle(own, start);
  let b = subgroupShuffle(own, start + 1u);
  let c = subgroupShuffle(own, start + 2u);
  let d = subgroupShuffle(own, start + 3u);
  return transpose(mat4x4<f32>(a, b, c, d));
}

fn add_quad(x: vec4<f32>, quads: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
  var part = fma(vec4<f32>(x.x), quads[0], sum);
  part = fma(vec4<f32>(x.y), quads[1], part);
  part = fma(vec4<f32>(x.z), quads[2], part);
  return fma(vec4<f32>(x.w), quads[3], part);
}

// Adds a tile's Σ weight · entry, keys ascending, to the split's, which shrink; returns Σ weight.
fn mix_tile(table: u32, first: u32, count: u32, lane: u32, shrink: vec4<f32>, is_first: bool) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var turn = 0u; turn < turns(); turn += 1u) {
    // Past the last column: the last again, unkept.
    let column = min(lane + LANES * turn, params.LATENT_VECTORS - 1u);
    sum = vec4<f32>(0.0);
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    var c = vec4<f32>(0.0);
    var d = vec4<f32>(0.0);
    for (var start = 0u; start < count; start += LANES) {
      let base = entry_of(table, first + start) + column;
      let own = scores[start + lane];
      for (var j = 0u; j < min(LANES, count - start); j += 1u) {
        let weight = subgroupShuffle(own, j);
        let value = page_values(pages[base + j * params.ENTRY_VECTORS]);
        a = fma(vec4<f32>(weight.x), value, a);
        b = fma(vec4<f32>(weight.y), value, b);
        c = fma(vec4<f32>(weight.z), value, c);
        d = fma(vec4<f32>(weight.w), value, d);
        sum += weight;
      }
    }
    let at = turn * HEADS_TOGETHER * LANES + lane;
    split_out[at] = fma(select(split_out[at], vec4<f32>(0.0), is_first), vec4<f32>(shrink.x), a);
    split_out[at + LANES] = fma(select(split_out[at + LANES], vec4<f32>(0.0), is_first), vec4<f32>(shrink.y), b);
    split_out[at + 2u * LANES] = fma(select(split_out[at + 2u * LANES], vec4<f32>(0.0), is_first), vec4<f32>(shrink.z), c);
    split_out[at + 3u * LANES] = fma(select(split_out[at + 3u * LANES], vec4<f32>(0.0), is_first), vec4<f32>(shrink.w), d);
  }
  return sum;
}

// Adds a split to the total of those before it.
fn merge(total: Sum, part: Sum, lane: u32, is_first: bool) -> Sum {
  let merged_max = max(total.max, part.max);
  let keep = exp_each(total.max - merged_max);
  let take = exp_each(part.max - merged_max);
  for (var cell = lane; cell < turns() * HEADS_TOGETHER * LANES; cell += LANES) {
    let head = cell / LANES % HEADS_TOGETHER;
    let before = select(total_out[cell], vec4<f32>(0.0), is_first);
    total_out[cell] = fma(before, vec4<f32>(keep[head]), split_out[cell] * take[head]);
  }
  return Sum(fma(total.sum, keep, part.sum * take), merged_max);
}

fn keep_part(slot: u32, first_head: u32, part: Sum, lane: u32) {
  let stride = params.LATENT_VECTORS + 1u;
  for (var head = 0u; head < min(HEADS_TOGETHER, params.HEADS - first_head); head += 1u) {
    let at = (slot * params.HEADS + first_head + head) * stride;
    for (var turn = 0u; lane + LANES * turn < params.LATENT_VECTORS; turn += 1u) {
      parts[at + lane + LANES * turn] = split_out[(turn * HEADS_TOGETHER + head) * LANES + lane];
    }
    if (lane == 0u) {
      parts[at + params.LATENT_VECTORS] = vec4<f32>(part.sum[head], part.max[head], 0.0, 0.0);
    }
  }
}

fn keep_whole(row: u32, first_head: u32, sum: vec4<f32>, lane: u32) {
  for (var head = 0u; head < min(HEADS_TOGETHER, params.HEADS - first_head); head += 1u) {
    let at = (row * params.HEADS + first_head + head) * params.LATENT_VECTORS;
    for (var turn = 0u; lane + LANES * turn < params.LATENT_VECTORS; turn += 1u) {
      out[at + lane + LANES * turn] = total_out[(turn * HEADS_TOGETHER + head) * LANES + lane] / sum[head];
    }
  }
}

// Columns of a lane.
fn turns() -> u32 {
  return (params.LATENT_VECTORS + LANES - 1u) / LANES;
}
