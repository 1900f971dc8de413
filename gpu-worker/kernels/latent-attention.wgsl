// Attention of one row and head over its sequence's latent cache:
//
//   s_j = SCALE · (query · entry_j),  j = 0 … position;   out[r, h, c] = Σ_j softmax(s)_j · entry_j[c],  c < LATENT
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   pages    f32 [blocks, 32, ENTRY] as vec4, read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   out      f32 [rows, HEADS, ROPE_START] as vec4, write: the latent part of an entry
//
// The order contract, equal for every row, prefill or decode:
//   tile   64 keys from a multiple of 64: scores (fma chains in chunks of 256), their maximum, weights exp(s − max so
//          far), Σ weights and Σ weights · entry by ascending keys from 0; then (max, sum, out) of the split are rescaled
//   split  512 keys from a multiple of 512, started afresh; merged into the total in ascending order
// One workgroup: one row, one head; lane t scores key t of a tile and owns vec4 t, t + 64, … of the output.
// Grid: x = heads, y = rows.
override LATENT_VECTORS: u32;

const TILE = 64u;
const TILES_PER_SPLIT = 8u;
const LOWEST = -3.4028234e38;

struct Params {
  HEADS: u32,
  SCALE: f32,
  ENTRY_VECTORS: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> pages: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> scores: array<f32, TILE>;
var<workgroup> weights: array<f32, TILE>;
// Each lane touches only its own vectors of these two.
var<workgroup> split_out: array<vec4<f32>, LATENT_VECTORS>;
var<workgroup> total_out: array<vec4<f32>, LATENT_VECTORS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y;
  let query = (row * params.HEADS + group.x) * params.ENTRY_VECTORS;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let tiles = (keys + TILE - 1u) / TILE;
  var total_max = LOWEST;
  var total_sum = 0.0;
  for (var split = 0u; split < tiles; split += TILES_PER_SPLIT) {
    var split_max = LOWEST;
    var split_sum = 0.0;
    for (var c = lane; c < LATENT_VECTORS; c += 64u) {
      split_out[c] = vec4<f32>(0.0);
    }
    for (var tile = split; tile < min(split + TILES_PER_SPLIT, tiles); tile += 1u) {
      let first = tile * TILE;
      let count = min(TILE, keys - first);
      scores[lane] = LOWEST;
      if (lane < count) {
        scores[lane] = params.SCALE * scored(query, entry_of(table, first + lane));
      }
      workgroupBarrier();
      let tile_max = max(split_max, maximum());
      // From memory: no compiler may fuse the score's product with this difference.
      weights[lane] = exp_exact(scores[lane] - tile_max);
      workgroupBarrier();
      let shrink = exp_exact(split_max - tile_max);
      var tile_sum = 0.0;
      for (var j = 0u; j < count; j += 1u) {
        tile_sum += weights[j];
      }
      split_sum = fma(split_sum, shrink, tile_sum);
      for (var c = lane; c < LATENT_VECTORS; c += 64u) {
        var sum = vec4<f32>(0.0);
        for (var j = 0u; j < count; j += 1u) {
          sum = fma(vec4<f32>(weights[j]), pages[entry_of(table, first + j) + c], sum);
        }
        split_out[c] = fma(split_out[c], vec4<f32>(shrink), sum);
      }
      split_max = tile_max;
      // The next tile overwrites scores at once and weights after its first barrier.
    }
    let merged_max = max(total_max, split_max);
    let keep = exp_exact(total_max - merged_max);
    let take = exp_exact(split_max - merged_max);
    for (var c = lane; c < LATENT_VECTORS; c += 64u) {
      var old = vec4<f32>(0.0);
      if (split > 0u) {
        old = total_out[c];
      }
      total_out[c] = fma(old, vec4<f32>(keep), split_out[c] * take);
    }
    total_sum = fma(total_sum, keep, split_sum * take);
    total_max = merged_max;
  }
  for (var c = lane; c < LATENT_VECTORS; c += 64u) {
    out[(row * params.HEADS + group.x) * LATENT_VECTORS + c] = total_out[c] / total_sum;
  }
}

// First vec4 of the cache entry at `position`.
fn entry_of(table: u32, position: u32) -> u32 {
  return (tables[table + position / 32u] * 32u + position % 32u) * params.ENTRY_VECTORS;
}

fn scored(query: u32, entry: u32) -> f32 {
  var total = 0.0;
  for (var start = 0u; start < params.ENTRY_VECTORS; start += 64u) {
    var part = 0.0;
    for (var i = start; i < min(start + 64u, params.ENTRY_VECTORS); i += 1u) {
      let q = queries[query + i];
      let e = pages[entry + i];
      part = fma(q.x, e.x, part);
      part = fma(q.y, e.y, part);
      part = fma(q.z, e.z, part);
      part = fma(q.w, e.w, part);
    }
    total += part;
  }
  return total;
}

fn maximum() -> f32 {
  var highest = scores[0];
  for (var j = 1u; j < TILE; j += 1u) {
    highest = max(highest, scores[j]);
  }
  return highest;
}
