// Mixes the entries of splits by their scores, tiles side by side: of whole rows their outputs, of single splits what
// latent-merge.wgsl needs.
//
//   parts[slot, h, c] = Σ_j weight_j · entry_j[c],  and (Σ_j weight_j, maximum);   weight_j as attention.wgsl says
//   out[row, h, c]    = the like of all splits, divided by Σ_j weight_j
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   mixes    vec4<u32> (row, slot of the first split, first split, splits), read: from FIRST_MIX on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   scores   f32 [slots, HEADS / 4, 512 keys then the maxima of 32 each, four heads] as vec4, read: of keys that the row has
//   out      f32 [rows, HEADS, LATENT padded to 4] as vec4, write: of mixes that have all splits of their row
//   parts    vec4<f32> [slots, HEADS, LATENT padded to 4, then (sum, max, 0, 0)], write: of others, which have one split
//
// One workgroup: one mix, 8 · HEAD_LANES heads, COLUMN_LANES vec4 of columns; TILE_LANES tiles at a time, whose maxima and
// sums are then taken in order. Past the last head: the last quad of heads again, unkept. TILE_LANES is 4 or 8.
//
//   lane = COLUMN_LANES · (HEAD_LANES · tile lane + head lane) + column lane     mixes one vec4 of columns for eight heads
//   cells lane and lane + LANES of [heads, columns]                              it keeps the row's total of
//
// Grid: x = heads / (8 · HEAD_LANES) · columns / (4 · COLUMN_LANES), y = mixes.
override HEAD_LANES: u32;
override COLUMN_LANES: u32;
override TILE_LANES: u32;
override LANES: u32 = HEAD_LANES * COLUMN_LANES * TILE_LANES;
// Of a workgroup: quads of heads, and those of all tiles at a time.
override QUADS: u32 = 2u * HEAD_LANES;
override TILE_QUADS: u32 = TILE_LANES * QUADS;

// Of a lane.
override WEIGHTS_EACH: u32 = TILE_QUADS * TILE / LANES;
override CELLS: u32 = 8u * HEAD_LANES * COLUMN_LANES;

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

// [tile lane][quad of heads][key], a component a head: scores, then weights.
var<workgroup> weights: array<vec4<f32>, TILE_QUADS * TILE>;
// [tile lane][quad of heads]: maxima of the split so far; what shrinks before the tile is added; Σ weights.
var<workgroup> maxima: array<vec4<f32>, TILE_QUADS>;
var<workgroup> shrinks: array<vec4<f32>, TILE_QUADS>;
var<workgroup> sums: array<vec4<f32>, TILE_QUADS>;
// [head][column lane], of the split.
var<workgroup> split_out: array<vec4<f32>, CELLS>;
// [quad of heads]: what of the splits before is kept and what of this one is taken; at last, Σ weights.
var<workgroup> keeps: array<vec4<f32>, QUADS>;
var<workgroup> takes: array<vec4<f32>, QUADS>;

// Where a lane is.
struct Place {
  lane: u32,
  tile_lane: u32,
  head_lane: u32,
  first_quad: u32,
  // Of the entry; past the last: the last again, unkept.
  column: u32,
}

// Of a quad of heads, in the lane of its number.
struct Sum {
  sum: vec4<f32>,
  max: vec4<f32>,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let mix = mixes[params.FIRST_MIX + group.y];
  let keys = rows[mix.x].y + 1u;
  let table = rows[mix.x].z;
  let slices = (params.LATENT_VECTORS + COLUMN_LANES - 1u) / COLUMN_LANES;
  let first_column = group.x % slices * COLUMN_LANES;
  let place = Place(
    lane,
    lane / (COLUMN_LANES * HEAD_LANES),
    lane / COLUMN_LANES % HEAD_LANES,
    group.x / slices * QUADS,
    min(first_column + lane % COLUMN_LANES, params.LATENT_VECTORS - 1u),
  );
  let is_whole = mix.w == (keys + TILE * TILES_PER_SPLIT - 1u) / (TILE * TILES_PER_SPLIT);
  var first = vec4<f32>(0.0);
  var last = vec4<f32>(0.0);
  var total = Sum(vec4<f32>(0.0), vec4<f32>(LOWEST));
  for (var i = 0u; i < mix.w; i += 1u) {
    let split = mix_split(mix.y + i, table, keys, (mix.z + i) * TILES_PER_SPLIT, place);
    if (is_whole) {
      if (lane < QUADS) {
        let merged_max = max(total.max, split.max);
        keeps[lane] = exp_each(total.max - merged_max);
        takes[lane] = exp_each(split.max - merged_max);
        total = Sum(fma(total.sum, keeps[lane], split.sum * takes[lane]), merged_max);
      }
      workgroupBarrier();
      first = with_split(first, lane);
      last = with_split(last, lane + LANES);
    } else {
      total = split;
      first = split_out[lane];
      last = split_out[min(lane + LANES, CELLS - 1u)];
    }
    // Others may still be reading what the next split overwrites.
    workgroupBarrier();
  }
  if (is_whole && lane < QUADS) {
    sums[lane] = total.sum;
  }
  workgroupBarrier();
  keep(mix, is_whole, place.first_quad, first_column, lane, first);
  keep(mix, is_whole, place.first_quad, first_column, lane + LANES, last);
  if (!is_whole && first_column == 0u && lane < QUADS) {
    keep_sums(mix.y, 4u * (place.first_quad + lane), total);
  }
}

// Leaves the split's Σ weight · entry in `split_out`; returns its sum and maximum. A barrier at the end.
fn mix_split(slot: u32, table: u32, keys: u32, first_tile: u32, place: Place) -> Sum {
  let lane = place.lane;
  let tile_count = min(TILES_PER_SPLIT, (keys + TILE - 1u) / TILE - first_tile);
  for (var cell = lane; cell < CELLS; cell += LANES) {
    split_out[cell] = vec4<f32>(0.0);
  }
  var so_far = Sum(vec4<f32>(0.0), vec4<f32>(LOWEST));
  let quad = place.tile_lane * QUADS + 2u * place.head_lane;
  for (var start = 0u; start < tile_count; start += TILE_LANES) {
    take_scores(slot, place.first_quad, start, tile_count, lane);
    if (lane < TILE_QUADS) {
      take_maxima(slot, place.first_quad + lane % QUADS, start + lane / QUADS, (keys + 31u) / 32u - 2u * first_tile, lane);
    }
    workgroupBarrier();
    for (var cell = lane; cell < TILE_QUADS * TILE; cell += LANES) {
      // From memory: no compiler may fuse the score's product with this difference.
      weights[cell] = exp_each(weights[cell] - maxima[cell / TILE]);
    }
    workgroupBarrier();
    if (lane < TILE_QUADS) {
      sums[lane] = summed(lane * TILE);
    }
    var mix = Mix();
    if (start + place.tile_lane < tile_count) {
      let first = (first_tile + start + place.tile_lane) * TILE;
      mix = mixed(table, first, min(TILE, keys - first), quad * TILE, place.column);
    }
    for (var turn = 0u; turn < min(TILE_LANES, tile_count - start); turn += 1u) {
      workgroupBarrier();
      if (place.tile_lane == turn) {
        add_tile(8u * place.head_lane * COLUMN_LANES + lane % COLUMN_LANES, shrinks[quad], shrinks[quad + 1u], mix);
      }
      if (lane < QUADS) {
        let at = turn * QUADS + lane;
        so_far = Sum(fma(so_far.sum, shrinks[at], sums[at]), maxima[at]);
      }
    }
    // Others may still be reading weights and shrinks.
    workgroupBarrier();
  }
  return so_far;
}

// The row's total of one cell with this split.
fn with_split(total: vec4<f32>, cell: u32) -> vec4<f32> {
  let own = min(cell, CELLS - 1u);
  let head = own / COLUMN_LANES;
  return fma(total, vec4<f32>(keeps[head / 4u][head % 4u]), split_out[own] * takes[head / 4u][head % 4u]);
}

// The result in one cell: of a whole row divided, of a single split not.
fn keep(mix: vec4<u32>, is_whole: bool, first_quad: u32, first_column: u32, cell: u32, total: vec4<f32>) {
  let own = min(cell, CELLS - 1u) / COLUMN_LANES;
  let head = 4u * first_quad + own;
  let column = first_column + cell % COLUMN_LANES;
  if (cell >= CELLS || column >= params.LATENT_VECTORS || head >= params.HEADS) {
    return;
  }
  if (is_whole) {
    out[(mix.x * params.HEADS + head) * params.LATENT_VECTORS + column] = total / sums[own / 4u][own % 4u];
  } else {
    parts[(mix.y * params.HEADS + head) * (params.LATENT_VECTORS + 1u) + column] = total;
  }
}

// Of four heads.
fn keep_sums(slot: u32, head: u32, total: Sum) {
  for (var i = 0u; i < 4u && head + i < params.HEADS; i += 1u) {
    let end = (slot * params.HEADS + head + i + 1u) * (params.LATENT_VECTORS + 1u) - 1u;
    parts[end] = vec4<f32>(total.sum[i], total.max[i], 0.0, 0.0);
  }
}

// Scores of TILE_LANES tiles: whoever takes them makes weights of them.
fn take_scores(slot: u32, first_quad: u32, start: u32, tile_count: u32, lane: u32) {
  for (var i = 0u; i < WEIGHTS_EACH; i += 1u) {
    let cell = lane + i * LANES;
    let tile = start + cell / (QUADS * TILE);
    let at = scores_of(slot, first_quad + cell / TILE % QUADS) + min(tile, tile_count - 1u) * TILE + cell % TILE;
    weights[cell] = select(vec4<f32>(LOWEST), scores[at], tile < tile_count);
  }
}

// Of one quad of heads: the maximum of the split behind a tile, and by what it shrinks what was there before. `blocks`: of 32
// keys, of the row from this split on. All loads at once, whoever needs how many.
fn take_maxima(slot: u32, quad: u32, tile: u32, blocks: u32, lane: u32) {
  let first = scores_of(slot, quad) + TILE * TILES_PER_SPLIT;
  var before = vec4<f32>(LOWEST);
  var behind = vec4<f32>(LOWEST);
  for (var block = 0u; block < 2u * TILES_PER_SPLIT; block += 1u) {
    let own = max(behind, scores[first + min(block, blocks - 1u)]);
    before = select(before, own, block < 2u * tile);
    behind = select(behind, own, block < 2u * tile + 2u);
  }
  maxima[lane] = behind;
  shrinks[lane] = exp_each(before - behind);
}

// split · shrink + tile, head by head.
fn add_tile(at: u32, low: vec4<f32>, high: vec4<f32>, mix: Mix) {
  add_head(at, low.x, mix.low[0]);
  add_head(at + COLUMN_LANES, low.y, mix.low[1]);
  add_head(at + 2u * COLUMN_LANES, low.z, mix.low[2]);
  add_head(at + 3u * COLUMN_LANES, low.w, mix.low[3]);
  add_head(at + 4u * COLUMN_LANES, high.x, mix.high[0]);
  add_head(at + 5u * COLUMN_LANES, high.y, mix.high[1]);
  add_head(at + 6u * COLUMN_LANES, high.z, mix.high[2]);
  add_head(at + 7u * COLUMN_LANES, high.w, mix.high[3]);
}

fn add_head(at: u32, shrink: f32, tile: vec4<f32>) {
  split_out[at] = fma(split_out[at], vec4<f32>(shrink), tile);
}
