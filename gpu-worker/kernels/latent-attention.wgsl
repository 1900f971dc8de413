// Attention of one row over its sequence's latent cache, for up to four heads that share the reading of it:
//
//   s_j = SCALE · (query · entry_j),  j = 0 … position;   out[r, h, c] = Σ_j softmax(s)_j · entry_j[c],  c < latent
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   out      f32 [rows, HEADS, LATENT padded to 4] as vec4, write
//
// The order contract, equal for every row, prefill or decode:
//   tile   64 keys from a multiple of 64: scores (fma chains in chunks of 256), their maximum, weights exp(s − max so
//          far), Σ weights and Σ weights · entry by ascending keys from 0; then (sum, out) of the split are rescaled
//   split  512 keys from a multiple of 512, started afresh; merged into the total in ascending order
// One workgroup: one row, four heads (past the last head: the last again, unkept). Lane t scores key t of a tile;
// cells (head, vec4 of the output) belong to lanes t, t + 64, … Grid: x = heads / 4, y = rows.
// Sizes of workgroup memory; loops take the same sizes from Params, which compilers cannot unroll.
override QUERY_CELLS: u32;
override OUT_CELLS: u32;

const HEADS_TOGETHER = 4u;
const TILE = 64u;
const TILES_PER_SPLIT = 8u;
const LOWEST = -3.4028234e38;

struct Params {
  HEADS: u32,
  SCALE: f32,
  ENTRY_VECTORS: u32,
  LATENT_VECTORS: u32,
  FAN: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> pages: array<PageQuad>;
@group(0) @binding(3) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

// A component a head.
var<workgroup> scores: array<vec4<f32>, TILE>;
var<workgroup> weights: array<vec4<f32>, TILE>;
var<workgroup> highest: array<vec4<f32>, TILE>;
var<workgroup> own_queries: array<vec4<f32>, QUERY_CELLS>;
// Each lane touches only its own cells of these; a head's sums belong to its cell 0.
var<workgroup> split_out: array<vec4<f32>, OUT_CELLS>;
var<workgroup> total_out: array<vec4<f32>, OUT_CELLS>;
var<workgroup> split_sums: array<f32, HEADS_TOGETHER>;
var<workgroup> total_sums: array<f32, HEADS_TOGETHER>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y;
  let first_head = group.x * HEADS_TOGETHER;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let tiles = (keys + TILE - 1u) / TILE;
  let cells = HEADS_TOGETHER * params.LATENT_VECTORS;
  for (var i = lane; i < HEADS_TOGETHER * params.ENTRY_VECTORS; i += 64u) {
    let head = min(first_head + i / params.ENTRY_VECTORS, params.HEADS - 1u);
    own_queries[i] = queries[(row * params.HEADS + head) * params.ENTRY_VECTORS + i % params.ENTRY_VECTORS];
  }
  for (var cell = lane; cell < cells; cell += 64u) {
    total_out[cell] = vec4<f32>(0.0);
    if (cell % params.LATENT_VECTORS == 0u) {
      total_sums[cell / params.LATENT_VECTORS] = 0.0;
    }
  }
  workgroupBarrier();
  var total_max = vec4<f32>(LOWEST);
  for (var split = 0u; split < tiles; split += TILES_PER_SPLIT) {
    var split_max = vec4<f32>(LOWEST);
    for (var tile = split; tile < min(split + TILES_PER_SPLIT, tiles); tile += 1u) {
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
      for (var cell = lane; cell < cells; cell += 64u) {
        let head = cell / params.LATENT_VECTORS;
        mix_tile(cell, table, first, count, tile == split, exp_exact(split_max[head] - tile_max[head]));
      }
      split_max = tile_max;
      // The next tile overwrites scores at once and weights after its first barrier.
    }
    let merged_max = max(total_max, split_max);
    for (var cell = lane; cell < cells; cell += 64u) {
      let head = cell / params.LATENT_VECTORS;
      let keep = exp_exact(total_max[head] - merged_max[head]);
      merge_split(cell, keep, exp_exact(split_max[head] - merged_max[head]));
    }
    total_max = merged_max;
  }
  workgroupBarrier();
  for (var cell = lane; cell < cells; cell += 64u) {
    let head = cell / params.LATENT_VECTORS;
    if (first_head + head < params.HEADS) {
      let at = (row * params.HEADS + first_head) * params.LATENT_VECTORS + cell;
      out[at] = total_out[cell] / total_sums[head];
    }
  }
}

// First quad of the cache entry at `position`.
fn entry_of(table: u32, position: u32) -> u32 {
  return (tables[table + position / 32u] * 32u + position % 32u) * params.ENTRY_VECTORS;
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

// Adds a tile's Σ weight · entry and Σ weight, keys ascending, to the split's, which shrinks.
fn mix_tile(cell: u32, table: u32, first: u32, count: u32, is_first: bool, shrink: f32) {
  let head = cell / params.LATENT_VECTORS;
  let c = cell % params.LATENT_VECTORS;
  var sum = 0.0;
  var mixed = vec4<f32>(0.0);
  for (var start = 0u; start < count; start += 32u) {
    let block = entry_of(table, first + start) + c;
    for (var j = 0u; j < min(32u, count - start); j += 1u) {
      let weight = weights[start + j][head];
      mixed = fma(vec4<f32>(weight), page_values(pages[block + j * params.ENTRY_VECTORS]), mixed);
      sum += weight;
    }
  }
  split_out[cell] = fma(select(split_out[cell], vec4<f32>(0.0), is_first), vec4<f32>(shrink), mixed);
  if (c == 0u) {
    split_sums[head] = fma(select(split_sums[head], 0.0, is_first), shrink, sum);
  }
}

fn merge_split(cell: u32, keep: f32, take: f32) {
  let head = cell / params.LATENT_VECTORS;
  total_out[cell] = fma(total_out[cell], vec4<f32>(keep), split_out[cell] * take);
  if (cell % params.LATENT_VECTORS == 0u) {
    total_sums[head] = fma(total_sums[head], keep, split_sums[head] * take);
  }
}

// One text of exp for all four heads: compilers are slow.
fn exp_each(x: vec4<f32>) -> vec4<f32> {
  var result = x;
  for (var head = 0u; head < min(params.HEADS, HEADS_TOGETHER); head += 1u) {
    result[head] = exp_exact(result[head]);
  }
  return result;
}
