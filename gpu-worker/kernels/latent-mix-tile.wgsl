// latent-mix.wgsl a tile at a time: the same bits with a workgroup's memory an eighth, for steps of many mixes.
//
// Formula and bindings as there. One workgroup: one mix, eight heads, 64 vec4 of columns, one a lane, which keeps the sums of
// tile, split and row in registers. A lane also makes the weights of one key; the next tile's scores are fetched before this
// tile is mixed. Grid: x = heads / 8 · columns / 256, y = mixes.
struct Params {
  HEADS: u32,
  ENTRY_VECTORS: u32,
  LATENT_VECTORS: u32,
  FIRST_MIX: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> mixes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<PageQuad>;
@group(0) @binding(4) var<storage, read> scores: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// A lane a key, and a vec4 of columns.
const LANES = 64u;
const COLUMN_LANES = 64u;

// [quad of heads][key], a component a head.
var<workgroup> weights: array<vec4<f32>, 2u * TILE>;
// [quad of heads]: Σ weights of the row.
var<workgroup> row_sums: array<vec4<f32>, 2>;

// Two quads of heads.
struct Both {
  low: vec4<f32>,
  high: vec4<f32>,
}

// A split, or a row so far. `sum`: in lanes 0 and 1 alone, of the quad of that number.
struct State {
  mix: Mix,
  sum: vec4<f32>,
  max: Both,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let mix = mixes[params.FIRST_MIX + group.y];
  let keys = rows[mix.x].y + 1u;
  let table = rows[mix.x].z;
  let slices = (params.LATENT_VECTORS + COLUMN_LANES - 1u) / COLUMN_LANES;
  let column = group.x % slices * COLUMN_LANES + lane;
  let first_quad = group.x / slices * 2u;
  let is_whole = mix.w == (keys + TILE * TILES_PER_SPLIT - 1u) / (TILE * TILES_PER_SPLIT);
  var total = State(Mix(), vec4<f32>(0.0), Both(vec4<f32>(LOWEST), vec4<f32>(LOWEST)));
  for (var i = 0u; i < mix.w; i += 1u) {
    let split = mix_split(mix.y + i, first_quad, table, keys, (mix.z + i) * TILES_PER_SPLIT, lane, column);
    if (is_whole) {
      let highest = Both(max(total.max.low, split.max.low), max(total.max.high, split.max.high));
      let keep = shrink(total.max, highest);
      let take = shrink(split.max, highest);
      total = State(
        merged(total.mix, keep.low, keep.high, taken(split.mix, take.low, take.high)),
        fma(total.sum, own(keep, lane), split.sum * own(take, lane)),
        highest,
      );
    } else {
      total = split;
    }
  }
  if (lane < 2u) {
    row_sums[lane] = total.sum;
  }
  workgroupBarrier();
  if (column < params.LATENT_VECTORS) {
    if (is_whole) {
      keep_rows(mix.x, 4u * first_quad, column, total.mix, Both(row_sums[0], row_sums[1]));
    } else {
      keep_parts(mix.y, 4u * first_quad, column, total.mix);
    }
  }
  if (!is_whole && column == lane && lane < 2u) {
    keep_sums(mix.y, 4u * (first_quad + lane), total.sum, own(total.max, lane));
  }
}

// Σ weight · entry, Σ weights and maximum of one split.
fn mix_split(slot: u32, first_quad: u32, table: u32, keys: u32, first_tile: u32, lane: u32, column: u32) -> State {
  let tile_count = min(TILES_PER_SPLIT, (keys + TILE - 1u) / TILE - first_tile);
  let blocks = (keys + 31u) / 32u - 2u * first_tile;
  let low = scores_of(slot, first_quad);
  let high = scores_of(slot, first_quad + 1u);
  var part = State(Mix(), vec4<f32>(0.0), Both(vec4<f32>(LOWEST), vec4<f32>(LOWEST)));
  var next = Both(scores[low + lane], scores[high + lane]);
  for (var tile = 0u; tile < tile_count; tile += 1u) {
    let maxima = TILE * TILES_PER_SPLIT + 2u * tile;
    let last = TILE * TILES_PER_SPLIT + min(2u * tile + 1u, blocks - 1u);
    let highest = Both(
      max(part.max.low, max(scores[low + maxima], scores[low + last])),
      max(part.max.high, max(scores[high + maxima], scores[high + last])),
    );
    // Others may still be reading the weights before.
    workgroupBarrier();
    // From memory: no compiler may fuse the score's product with this difference.
    weights[lane] = exp_each(next.low - highest.low);
    weights[TILE + lane] = exp_each(next.high - highest.high);
    workgroupBarrier();
    let after = min(tile + 1u, tile_count - 1u) * TILE + lane;
    next = Both(scores[low + after], scores[high + after]);
    let keep = shrink(part.max, highest);
    var sum = vec4<f32>(0.0);
    if (lane < 2u) {
      sum = summed(lane * TILE);
    }
    let first = (first_tile + tile) * TILE;
    let mix = mixed(table, first, min(TILE, keys - first), 0u, min(column, params.LATENT_VECTORS - 1u));
    part = State(merged(part.mix, keep.low, keep.high, mix), fma(part.sum, own(keep, lane), sum), highest);
  }
  return part;
}

fn shrink(before: Both, highest: Both) -> Both {
  return Both(exp_each(before.low - highest.low), exp_each(before.high - highest.high));
}

// Of the quad of heads whose sum this lane has.
fn own(both: Both, lane: u32) -> vec4<f32> {
  return select(both.low, both.high, lane == 1u);
}

fn keep_rows(row: u32, head: u32, column: u32, mix: Mix, sums: Both) {
  let at = row * params.HEADS;
  keep_row(at, head, column, mix.low[0] / sums.low.x);
  keep_row(at, head + 1u, column, mix.low[1] / sums.low.y);
  keep_row(at, head + 2u, column, mix.low[2] / sums.low.z);
  keep_row(at, head + 3u, column, mix.low[3] / sums.low.w);
  keep_row(at, head + 4u, column, mix.high[0] / sums.high.x);
  keep_row(at, head + 5u, column, mix.high[1] / sums.high.y);
  keep_row(at, head + 6u, column, mix.high[2] / sums.high.z);
  keep_row(at, head + 7u, column, mix.high[3] / sums.high.w);
}

fn keep_row(row_head: u32, head: u32, column: u32, value: vec4<f32>) {
  if (head < params.HEADS) {
    out[(row_head + head) * params.LATENT_VECTORS + column] = value;
  }
}

fn keep_parts(slot: u32, head: u32, column: u32, mix: Mix) {
  let at = slot * params.HEADS;
  keep_part(at, head, column, mix.low[0]);
  keep_part(at, head + 1u, column, mix.low[1]);
  keep_part(at, head + 2u, column, mix.low[2]);
  keep_part(at, head + 3u, column, mix.low[3]);
  keep_part(at, head + 4u, column, mix.high[0]);
  keep_part(at, head + 5u, column, mix.high[1]);
  keep_part(at, head + 6u, column, mix.high[2]);
  keep_part(at, head + 7u, column, mix.high[3]);
}

fn keep_part(slot_head: u32, head: u32, column: u32, value: vec4<f32>) {
  if (head < params.HEADS) {
    parts[(slot_head + head) * (params.LATENT_VECTORS + 1u) + column] = value;
  }
}

// Of four heads.
fn keep_sums(slot: u32, head: u32, sum: vec4<f32>, highest: vec4<f32>) {
  for (var i = 0u; i < 4u && head + i < params.HEADS; i += 1u) {
    let end = (slot * params.HEADS + head + i + 1u) * (params.LATENT_VECTORS + 1u) - 1u;
    parts[end] = vec4<f32>(sum[i], highest[i], 0.0, 0.0);
  }
}
