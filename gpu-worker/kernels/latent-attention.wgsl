// Attention of rows over their sequences' latent caches, for up to four heads that share the reading of them:
//
//   s_j = SCALE · (query · entry_j),  j = 0 … position;   out[r, h, c] = Σ_j softmax(s)_j · entry_j[c],  c < latent
//
// Bindings and the order contract: include/attention.wgsl.
//
// One workgroup: one item, four heads (past the last head: the last again, unkept). Lane t scores key t of a tile and
// mixes columns t, t + 64, … of all four heads, which are vec4: an entry is read once for them. Grid: x = heads / 4, y = items.
// Sizes of workgroup memory; loops take the same sizes from Params, which compilers cannot unroll.
override QUERY_CELLS: u32;
override OUT_CELLS: u32;

const HEADS_TOGETHER = 4u;

// A component a head.
var<workgroup> scores: array<vec4<f32>, TILE>;
var<workgroup> weights: array<vec4<f32>, TILE>;
var<workgroup> highest: array<vec4<f32>, TILE>;
var<workgroup> own_queries: array<vec4<f32>, QUERY_CELLS>;
// [heads, LATENT_VECTORS, then (sum, 0, 0, 0)], as in a part without its maximum.
var<workgroup> split_out: array<vec4<f32>, OUT_CELLS>;
var<workgroup> total_out: array<vec4<f32>, OUT_CELLS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let row = item.x;
  let is_whole = item.y == WHOLE;
  let first_head = group.x * HEADS_TOGETHER;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let tiles = (keys + TILE - 1u) / TILE;
  for (var i = lane; i < HEADS_TOGETHER * params.ENTRY_VECTORS; i += 64u) {
    let head = min(first_head + i / params.ENTRY_VECTORS, params.HEADS - 1u);
    own_queries[i] = queries[(row * params.HEADS + head) * params.ENTRY_VECTORS + i % params.ENTRY_VECTORS];
  }
  let stride = params.LATENT_VECTORS + 1u;
  let cells = HEADS_TOGETHER * stride;
  for (var cell = lane; cell < cells; cell += 64u) {
    total_out[cell] = vec4<f32>(0.0);
  }
  workgroupBarrier();
  var total_max = vec4<f32>(LOWEST);
  let first_tile = select(item.y * TILES_PER_SPLIT, 0u, is_whole);
  let end_tile = select(min(first_tile + TILES_PER_SPLIT, tiles), tiles, is_whole);
  for (var split = first_tile; split < end_tile; split += TILES_PER_SPLIT) {
    for (var cell = lane; cell < cells; cell += 64u) {
      split_out[cell] = vec4<f32>(0.0);
    }
    var split_max = vec4<f32>(LOWEST);
    for (var tile = split; tile < min(split + TILES_PER_SPLIT, end_tile); tile += 1u) {
      let first = tile * TILE;
      let count = min(TILE, keys - first);
      scores[lane] = vec4<f32>(LOWEST);
      if (lane < count) {
        scores[lane] = params.SCALE * scored(entry_of(table, first + lane));
      }
      workgroupBarrier();
      let tile_max = max(split_max, highest_scores(lane));
      // From memory: no compiler may fuse the score's product with this difference.
      weights[lane] = exp_each(scores[lane] - tile_max);
      workgroupBarrier();
      if (lane < params.LATENT_VECTORS) {
        let shrink = exp_each(split_max - tile_max);
        for (var column = lane; column < params.LATENT_VECTORS; column += 64u) {
          mix_tile(column, table, first, count, shrink);
        }
      }
      split_max = tile_max;
      // The next tile overwrites scores at once and weights after its first barrier.
    }
    // From here on lanes own cells of all heads alike, not columns.
    workgroupBarrier();
    let merged_max = max(total_max, split_max);
    for (var cell = lane; cell < cells; cell += 64u) {
      let head = cell / stride;
      if (is_whole) {
        let keep = exp_exact(total_max[head] - merged_max[head]);
        let take = exp_exact(split_max[head] - merged_max[head]);
        total_out[cell] = fma(total_out[cell], vec4<f32>(keep), split_out[cell] * take);
      } else if (first_head + head < params.HEADS) {
        let is_sum = cell % stride == params.LATENT_VECTORS;
        let part = select(split_out[cell], vec4<f32>(split_out[cell].x, split_max[head], 0.0, 0.0), is_sum);
        parts[(group.y * params.HEADS + first_head) * stride + cell] = part;
      }
    }
    total_max = merged_max;
  }
  workgroupBarrier();
  for (var cell = lane; cell < cells; cell += 64u) {
    let head = cell / stride;
    let column = cell % stride;
    if (is_whole && column < params.LATENT_VECTORS && first_head + head < params.HEADS) {
      let at = (row * params.HEADS + first_head + head) * params.LATENT_VECTORS + column;
      out[at] = total_out[cell] / total_out[head * stride + params.LATENT_VECTORS].x;
    }
  }
}

fn scored(entry: u32) -> vec4<f32> {
  var total = vec4<f32>(0.0);
  for (var start = 0u; start < params.ENTRY_VECTORS; start += 64u) {
    var part = vec4<f32>(0.0);
    for (var i = start; i < min(start + 64u, params.ENTRY_VECTORS); i += 1u) {
      let a = own_queries[i];
      let b = own_queries[params.ENTRY_VECTORS + i];
      let c = own_queries[2u * params.ENTRY_VECTORS + i];
      let d = own_queries[3u * params.ENTRY_VECTORS + i];
      part = dot_quads(page_values(pages[entry + i]), a, b, c, d, part);
    }
    total += part;
  }
  return total;
}

// The tile's highest score of each head; a maximum is exact in any order. One barrier inside, one before.
fn highest_scores(lane: u32) -> vec4<f32> {
  if (lane < params.FAN) {
    var some = scores[params.FAN * lane];
    for (var i = 1u; i < params.FAN; i += 1u) {
      some = max(some, scores[params.FAN * lane + i]);
    }
    highest[lane] = some;
  }
  workgroupBarrier();
  var all = highest[0];
  for (var i = 1u; i < params.FAN; i += 1u) {
    all = max(all, highest[i]);
  }
  return all;
}

// Adds a tile's Σ weight · entry and Σ weight, keys ascending, to the split's, which shrink.
fn mix_tile(column: u32, table: u32, first: u32, count: u32, shrink: vec4<f32>) {
  var sum = vec4<f32>(0.0);
  var a = vec4<f32>(0.0);
  var b = vec4<f32>(0.0);
  var c = vec4<f32>(0.0);
  var d = vec4<f32>(0.0);
  for (var start = 0u; start < count; start += 32u) {
    let block = entry_of(table, first + start) + column;
    for (var j = 0u; j < min(32u, count - start); j += 1u) {
      let weight = weights[start + j];
      let value = page_values(pages[block + j * params.ENTRY_VECTORS]);
      a = fma(vec4<f32>(weight.x), value, a);
      b = fma(vec4<f32>(weight.y), value, b);
      c = fma(vec4<f32>(weight.z), value, c);
      d = fma(vec4<f32>(weight.w), value, d);
      sum += weight;
    }
  }
  let mixed = mat4x4<f32>(a, b, c, d);
  for (var head = 0u; head < min(params.HEADS, HEADS_TOGETHER); head += 1u) {
    let base = head * (params.LATENT_VECTORS + 1u);
    split_out[base + column] = fma(split_out[base + column], vec4<f32>(shrink[head]), mixed[head]);
    if (column == 0u) {
      let at = base + params.LATENT_VECTORS;
      split_out[at].x = fma(split_out[at].x, shrink[head], sum[head]);
    }
  }
}
