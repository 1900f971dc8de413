// Mixes the entries of splits by their scores, tiles side by side: what latent-merge.wgsl needs of them.
//
//   parts[item, h, c] = Σ_j weight_j · entry_j[c],  and (Σ_j weight_j, maximum);   weight_j as attention.wgsl says
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   items    vec2<u32> (row, split), read: from FIRST_ITEM on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   scores   f32 [items, HEADS / 4, 512 keys, four heads] as vec4, read: of tiles that the row has
//   parts    vec4<f32> [items, HEADS, LATENT padded to 4, then (sum, max, 0, 0)], write: not divided
//
// One workgroup: one item, 8 · HEAD_LANES heads, COLUMN_LANES vec4 of columns; TILE_LANES tiles at a time, whose maxima and
// sums are then taken in order. Past the last head: the last quad of heads again, unkept.
//
//   lane = COLUMN_LANES · (HEAD_LANES · tile lane + head lane) + column lane     mixes one vec4 of columns for eight heads
//
// Grid: x = heads / (8 · HEAD_LANES) · columns / (4 · COLUMN_LANES), y = items.
override HEAD_LANES: u32;
override COLUMN_LANES: u32;
override TILE_LANES: u32;
override LANES: u32 = HEAD_LANES * COLUMN_LANES * TILE_LANES;
// Of a workgroup: quads of heads, and those of all tiles at a time.
override QUADS: u32 = 2u * HEAD_LANES;
override TILE_QUADS: u32 = TILE_LANES * QUADS;

struct Params {
  HEADS: u32,
  ENTRY_VECTORS: u32,
  LATENT_VECTORS: u32,
  FIRST_ITEM: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> items: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<PageQuad>;
@group(0) @binding(4) var<storage, read> scores: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> params: Params;

const FAN = 8u;

// [tile lane][quad of heads][key], a component a head: scores, then weights.
var<workgroup> weights: array<vec4<f32>, TILE_QUADS * TILE>;
var<workgroup> highest: array<vec4<f32>, TILE_QUADS * FAN>;
// [tile lane][quad of heads]: maxima of the tiles, then of the split so far; what shrinks before the tile is added.
var<workgroup> maxima: array<vec4<f32>, TILE_QUADS>;
var<workgroup> shrinks: array<vec4<f32>, TILE_QUADS>;
var<workgroup> sums: array<vec4<f32>, TILE_QUADS>;
// [head][column lane]
var<workgroup> totals: array<vec4<f32>, 8u * HEAD_LANES * COLUMN_LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let keys = rows[item.x].y + 1u;
  let table = rows[item.x].z;
  let slices = (params.LATENT_VECTORS + COLUMN_LANES - 1u) / COLUMN_LANES;
  let slice = group.x % slices;
  let first_quad = group.x / slices * QUADS;
  let first_tile = item.y * TILES_PER_SPLIT;
  let tile_count = min(TILES_PER_SPLIT, (keys + TILE - 1u) / TILE - first_tile);
  let tile_lane = lane / (COLUMN_LANES * HEAD_LANES);
  let head_lane = lane / COLUMN_LANES % HEAD_LANES;
  let column = slice * COLUMN_LANES + lane % COLUMN_LANES;
  for (var cell = lane; cell < 8u * HEAD_LANES * COLUMN_LANES; cell += LANES) {
    totals[cell] = vec4<f32>(0.0);
  }
  // Of the split so far, in lanes of a quad of heads each.
  var highest_score = vec4<f32>(LOWEST);
  var sum = vec4<f32>(0.0);
  for (var start = 0u; start < tile_count; start += TILE_LANES) {
    take_scores(group.y, first_quad, start, tile_count, lane);
    workgroupBarrier();
    if (lane < QUADS) {
      highest_score = in_order(highest_score, lane);
    }
    workgroupBarrier();
    for (var cell = lane; cell < TILE_QUADS * TILE; cell += LANES) {
      // From memory: no compiler may fuse the score's product with this difference.
      weights[cell] = exp_each(weights[cell] - maxima[cell / TILE]);
    }
    workgroupBarrier();
    var mix = Mix();
    if (start + tile_lane < tile_count) {
      let first = (first_tile + start + tile_lane) * TILE;
      let own = (tile_lane * QUADS + 2u * head_lane) * TILE;
      mix = mixed(table, first, min(TILE, keys - first), own, min(column, params.LATENT_VECTORS - 1u));
    }
    if (slice == 0u && lane < TILE_QUADS) {
      sums[lane] = summed(lane * TILE);
    }
    let quad = tile_lane * QUADS + 2u * head_lane;
    for (var turn = 0u; turn < min(TILE_LANES, tile_count - start); turn += 1u) {
      workgroupBarrier();
      if (tile_lane == turn) {
        add_tile(8u * head_lane * COLUMN_LANES + lane % COLUMN_LANES, shrinks[quad], shrinks[quad + 1u], mix);
      }
      if (slice == 0u && lane < QUADS) {
        sum = fma(sum, shrinks[turn * QUADS + lane], sums[turn * QUADS + lane]);
      }
    }
    // Others may still be reading weights and shrinks.
    workgroupBarrier();
  }
  let stride = params.LATENT_VECTORS + 1u;
  let first_head = 4u * first_quad;
  for (var cell = lane; cell < 8u * HEAD_LANES * COLUMN_LANES; cell += LANES) {
    let head = first_head + cell / COLUMN_LANES;
    let own_column = slice * COLUMN_LANES + cell % COLUMN_LANES;
    if (head < params.HEADS && own_column < params.LATENT_VECTORS) {
      parts[(group.y * params.HEADS + head) * stride + own_column] = totals[cell];
    }
  }
  if (slice == 0u && lane < QUADS) {
    for (var i = 0u; i < 4u && first_head + 4u * lane + i < params.HEADS; i += 1u) {
      let end = (group.y * params.HEADS + first_head + 4u * lane + i + 1u) * stride - 1u;
      parts[end] = vec4<f32>(sum[i], highest_score[i], 0.0, 0.0);
    }
  }
}

// Scores of TILE_LANES tiles, and the maximum of each. Barriers inside, none at the end.
fn take_scores(item: u32, first_quad: u32, start: u32, tile_count: u32, lane: u32) {
  let all_quads = (params.HEADS + 3u) / 4u;
  for (var cell = lane; cell < TILE_QUADS * TILE; cell += LANES) {
    let tile = start + cell / (QUADS * TILE);
    let quad = min(first_quad + cell / TILE % QUADS, all_quads - 1u);
    let at = (item * all_quads + quad) * (TILE * TILES_PER_SPLIT) + min(tile, tile_count - 1u) * TILE + cell % TILE;
    weights[cell] = select(vec4<f32>(LOWEST), scores[at], tile < tile_count);
  }
  workgroupBarrier();
  for (var place = lane; place < TILE_QUADS * FAN; place += LANES) {
    var some = weights[FAN * place];
    for (var i = 1u; i < FAN; i += 1u) {
      some = max(some, weights[FAN * place + i]);
    }
    highest[place] = some;
  }
  workgroupBarrier();
  for (var place = lane; place < TILE_QUADS; place += LANES) {
    var all = highest[FAN * place];
    for (var i = 1u; i < FAN; i += 1u) {
      all = max(all, highest[FAN * place + i]);
    }
    maxima[place] = all;
  }
}

// Turns the tiles' maxima of a quad of heads into those of the split so far; returns the last.
fn in_order(before: vec4<f32>, quad: u32) -> vec4<f32> {
  var so_far = before;
  for (var tile = 0u; tile < TILE_LANES; tile += 1u) {
    let at = tile * QUADS + quad;
    let next = max(so_far, maxima[at]);
    shrinks[at] = exp_each(so_far - next);
    maxima[at] = next;
    so_far = next;
  }
  return so_far;
}

// A tile's Σ weight · entry, keys ascending, of one vec4 of columns.
fn mixed(table: u32, first: u32, count: u32, own: u32, column: u32) -> Mix {
  var mix = Mix();
  for (var start = 0u; start < count; start += 32u) {
    let base = entry_of(table, first + start) + column;
    let end = min(32u, count - start);
    var j = 0u;
    // Eight loads under way at a time.
    for (; j + 8u <= end; j += 8u) {
      let at = base + j * params.ENTRY_VECTORS;
      let a = pages[at];
      let b = pages[at + params.ENTRY_VECTORS];
      let c = pages[at + 2u * params.ENTRY_VECTORS];
      let d = pages[at + 3u * params.ENTRY_VECTORS];
      let e = pages[at + 4u * params.ENTRY_VECTORS];
      let f = pages[at + 5u * params.ENTRY_VECTORS];
      let g = pages[at + 6u * params.ENTRY_VECTORS];
      let h = pages[at + 7u * params.ENTRY_VECTORS];
      let key = own + start + j;
      mix = add_key(mix, key, a);
      mix = add_key(mix, key + 1u, b);
      mix = add_key(mix, key + 2u, c);
      mix = add_key(mix, key + 3u, d);
      mix = add_key(mix, key + 4u, e);
      mix = add_key(mix, key + 5u, f);
      mix = add_key(mix, key + 6u, g);
      mix = add_key(mix, key + 7u, h);
    }
    for (; j < end; j += 1u) {
      mix = add_key(mix, own + start + j, pages[base + j * params.ENTRY_VECTORS]);
    }
  }
  return mix;
}

fn add_key(mix: Mix, at: u32, value: PageQuad) -> Mix {
  return with_key(mix, weights[at], weights[at + TILE], page_values(value));
}

// Σ weight of a tile for one quad of heads, keys ascending: past the last key weights are 0.
fn summed(at: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var key = 0u; key < TILE; key += 1u) {
    sum += weights[at + key];
  }
  return sum;
}

// total · shrink + tile, head by head.
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
  totals[at] = fma(totals[at], vec4<f32>(shrink), tile);
}
