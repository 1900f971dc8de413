// latent-attention.wgsl for sixteen heads together: the same bits, each tile of keys read by neighbouring lanes.
//
// Bindings and contract as there, whole rows alone; LATENT of at most 512. Alone a lane that scores a key reads its entry
// from end to end, far from its neighbours' entries: here a workgroup brings STAGE vec4 of all 64 entries and 16 queries at a
// time, each time the next while it multiplies. One workgroup: one row, 16 heads (past the last head: the last again,
// unkept). A lane scores one key for four heads and mixes one vec4 of columns for eight. Grid: x = heads / 16, y = rows.
const HEADS_TOGETHER = 16u;
const STAGE = 8u;
// One more than keys: the lanes that bring one entry write to different banks.
const STAGE_STRIDE = TILE + 1u;
const CHUNK_VECTORS = 64u;
const COLUMNS = 128u;

// [STAGE, keys]; [heads, STAGE].
var<workgroup> entry_stage: array<vec4<f32>, STAGE * STAGE_STRIDE>;
var<workgroup> query_stage: array<vec4<f32>, HEADS_TOGETHER * STAGE>;
// Four heads a vec4, a component a head: scores, then weights [quads of heads, keys]; the rest one vec4 a quad of heads.
var<workgroup> scores: array<vec4<f32>, HEADS_TOGETHER / 4u * TILE>;
var<workgroup> highest: array<vec4<f32>, HEADS_TOGETHER / 4u * 8u>;
var<workgroup> keeps: array<vec4<f32>, HEADS_TOGETHER / 4u>;
var<workgroup> takes: array<vec4<f32>, HEADS_TOGETHER / 4u>;
var<workgroup> sums: array<vec4<f32>, HEADS_TOGETHER / 4u>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = items[params.FIRST_ITEM + group.y].x;
  let first_head = group.x * HEADS_TOGETHER;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let tiles = (keys + TILE - 1u) / TILE;
  // Of this lane's heads when it scores, and of those when it mixes: `half`, then half + 1.
  let quad = lane / TILE;
  let half = 2u * (lane / COLUMNS);
  var total = Mix();
  var total_max = vec4<f32>(LOWEST);
  for (var split = 0u; split < tiles; split += TILES_PER_SPLIT) {
    var part = Mix();
    var split_max = vec4<f32>(LOWEST);
    for (var tile = split; tile < min(split + TILES_PER_SPLIT, tiles); tile += 1u) {
      let first = tile * TILE;
      let count = min(TILE, keys - first);
      let score = params.SCALE * scored(row, first_head, table, first, count, lane);
      scores[lane] = select(vec4<f32>(LOWEST), score, lane % TILE < count);
      workgroupBarrier();
      let tile_max = max(split_max, highest_scores(lane));
      if (lane % TILE == 0u) {
        keeps[quad] = exp_each(split_max - tile_max);
      }
      // From memory: no compiler may fuse the score's product with this difference.
      scores[lane] = exp_each(scores[lane] - tile_max);
      workgroupBarrier();
      part = merged(part, keeps[half], keeps[half + 1u], mixed(table, first, count, lane));
      split_max = tile_max;
      // The next tile overwrites scores and keeps after its first barriers.
    }
    workgroupBarrier();
    let merged_max = max(total_max, split_max);
    if (lane % TILE == 0u) {
      keeps[quad] = exp_each(total_max - merged_max);
      takes[quad] = exp_each(split_max - merged_max);
    }
    workgroupBarrier();
    total = merged(total, keeps[half], keeps[half + 1u], taken(part, takes[half], takes[half + 1u]));
    total_max = merged_max;
  }
  if (lane % COLUMNS == 0u) {
    sums[half] = total.low_sum;
    sums[half + 1u] = total.high_sum;
  }
  workgroupBarrier();
  keep_whole(row, first_head, total, lane);
}

// Key lane % 64 for the four heads of lane / 64. A barrier at the start of each stage, and one within.
fn scored(row: u32, first_head: u32, table: u32, first: u32, count: u32, lane: u32) -> vec4<f32> {
  // What this lane brings: vec4 lane % 8 of each stage, of two entries and, in the lower lanes, of one query.
  let place = lane % STAGE;
  let carrier = lane / STAGE;
  let low = entry_of(table, first + min(carrier, count - 1u));
  let high = entry_of(table, first + min(carrier + TILE / 2u, count - 1u));
  let head = min(first_head + carrier % HEADS_TOGETHER, params.HEADS - 1u);
  let query = (row * params.HEADS + head) * params.ENTRY_VECTORS;
  let own_queries = lane / TILE * 4u * STAGE;
  var from_low = page_values(pages[low + min(place, params.ENTRY_VECTORS - 1u)]);
  var from_high = page_values(pages[high + min(place, params.ENTRY_VECTORS - 1u)]);
  var from_query = queries[query + min(place, params.ENTRY_VECTORS - 1u)];
  var total = vec4<f32>(0.0);
  var part = vec4<f32>(0.0);
  for (var start = 0u; start < params.ENTRY_VECTORS; start += STAGE) {
    workgroupBarrier();
    entry_stage[place * STAGE_STRIDE + carrier] = from_low;
    entry_stage[place * STAGE_STRIDE + carrier + TILE / 2u] = from_high;
    if (carrier < HEADS_TOGETHER) {
      query_stage[lane] = from_query;
    }
    workgroupBarrier();
    let next = min(start + STAGE + place, params.ENTRY_VECTORS - 1u);
    from_low = page_values(pages[low + next]);
    from_high = page_values(pages[high + next]);
    from_query = queries[query + next];
    for (var i = 0u; i < min(STAGE, params.ENTRY_VECTORS - start); i += 1u) {
      let a = query_stage[own_queries + i];
      let b = query_stage[own_queries + STAGE + i];
      let c = query_stage[own_queries + 2u * STAGE + i];
      let d = query_stage[own_queries + 3u * STAGE + i];
      part = dot_quads(entry_stage[i * STAGE_STRIDE + lane % TILE], a, b, c, d, part);
    }
    let end = start + STAGE;
    if (end % CHUNK_VECTORS == 0u || end >= params.ENTRY_VECTORS) {
      total += part;
      part = vec4<f32>(0.0);
    }
  }
  return total;
}

// The tile's highest score of each head of this lane's quad; a maximum is exact in any order. One barrier inside.
fn highest_scores(lane: u32) -> vec4<f32> {
  if (lane < HEADS_TOGETHER / 4u * params.FAN) {
    var some = scores[params.FAN * lane];
    for (var i = 1u; i < params.FAN; i += 1u) {
      some = max(some, scores[params.FAN * lane + i]);
    }
    highest[lane] = some;
  }
  workgroupBarrier();
  let base = lane / TILE * params.FAN;
  var all = highest[base];
  for (var i = 1u; i < params.FAN; i += 1u) {
    all = max(all, highest[base + i]);
  }
  return all;
}

// A tile's Σ weight · entry, keys ascending, of this lane's columns, and Σ weight in the lanes of column 0.
fn mixed(table: u32, first: u32, count: u32, lane: u32) -> Mix {
  var mix = Mix();
  let column = min(lane % COLUMNS, params.LATENT_VECTORS - 1u);
  let weights = 2u * (lane / COLUMNS) * TILE;
  for (var start = 0u; start < count; start += 32u) {
    let base = entry_of(table, first + start) + column;
    let end = min(32u, count - start);
    var j = 0u;
    // Four loads under way at a time.
    for (; j + 4u <= end; j += 4u) {
      let at = base + j * params.ENTRY_VECTORS;
      let p = page_values(pages[at]);
      let q = page_values(pages[at + params.ENTRY_VECTORS]);
      let r = page_values(pages[at + 2u * params.ENTRY_VECTORS]);
      let s = page_values(pages[at + 3u * params.ENTRY_VECTORS]);
      mix = add_key(mix, weights + start + j, p, lane);
      mix = add_key(mix, weights + start + j + 1u, q, lane);
      mix = add_key(mix, weights + start + j + 2u, r, lane);
      mix = add_key(mix, weights + start + j + 3u, s, lane);
    }
    for (; j < end; j += 1u) {
      mix = add_key(mix, weights + start + j, page_values(pages[base + j * params.ENTRY_VECTORS]), lane);
    }
  }
  return mix;
}

fn add_key(mix: Mix, at: u32, value: vec4<f32>, lane: u32) -> Mix {
  let low = scores[at];
  let high = scores[at + TILE];
  var next = with_key(mix, low, high, value);
  if (lane % COLUMNS == 0u) {
    next.low_sum += low;
    next.high_sum += high;
  }
  return next;
}

// Head by head: an index into what a lane holds would push it out of registers.
fn keep_whole(row: u32, first_head: u32, total: Mix, lane: u32) {
  let half = lane / COLUMNS;
  let head = first_head + 8u * half;
  let low = sums[2u * half];
  let high = sums[2u * half + 1u];
  keep_head(row, head, total.low[0] / low.x, lane);
  keep_head(row, head + 1u, total.low[1] / low.y, lane);
  keep_head(row, head + 2u, total.low[2] / low.z, lane);
  keep_head(row, head + 3u, total.low[3] / low.w, lane);
  keep_head(row, head + 4u, total.high[0] / high.x, lane);
  keep_head(row, head + 5u, total.high[1] / high.y, lane);
  keep_head(row, head + 6u, total.high[2] / high.z, lane);
  keep_head(row, head + 7u, total.high[3] / high.w, lane);
}

fn keep_head(row: u32, head: u32, value: vec4<f32>, lane: u32) {
  let column = lane % COLUMNS;
  if (column < params.LATENT_VECTORS && head < params.HEADS) {
    out[(row * params.HEADS + head) * params.LATENT_VECTORS + column] = value;
  }
}
