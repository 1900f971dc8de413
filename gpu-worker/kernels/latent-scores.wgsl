// The scores of splits, sixteen heads and 32 keys a workgroup: for steps of few splits, on GPUs.
//
//   s[h, j] = SCALE · (query_h · entry_j),  LOWEST for keys that the row does not have
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   items    vec2<u32> (row, split), read: from FIRST_ITEM on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   scores   f32 [items, HEADS / 4, 512 keys then the maxima of 32 each, four heads], write: of blocks that the row has
//
// A lane scores keys lane % 16 and 16 more for heads lane / 16 and 8 more; past the last head: the last again, unkept. Lanes
// bring entries and queries together, SLAB vec4 of each at a time, the next while these are multiplied: long slabs, since few
// workgroups wait for memory most of all.
// Grid: x = heads / 16 · blocks of a split, y = items. Order and rounding: attention.wgsl.
const LANES = 128u;
const HEADS_TOGETHER = 16u;
const KEYS = 32u;
const SLAB = 16u;
// One vector more than a row has: neighbouring rows begin in different banks.
const SLAB_STRIDE = SLAB + 1u;
const CHUNK_VECTORS = 64u;
const SPLIT_BLOCKS = 2u * TILES_PER_SPLIT;

struct Params {
  HEADS: u32,
  SCALE: f32,
  ENTRY_VECTORS: u32,
  FIRST_ITEM: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> items: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<PageQuad>;
@group(0) @binding(4) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// [key][quad]; [head][quad].
var<workgroup> entry_slab: array<vec4<f32>, KEYS * SLAB_STRIDE>;
var<workgroup> query_slab: array<vec4<f32>, HEADS_TOGETHER * SLAB_STRIDE>;
// [head][key lane]: of its two keys.
var<workgroup> highest: array<f32, HEADS_TOGETHER * 16u>;

// What a lane brings of a slab: one vec4 of every eighth entry and of every eighth query.
struct Fetched {
  entry_a: PageQuad,
  entry_b: PageQuad,
  entry_c: PageQuad,
  entry_d: PageQuad,
  query_a: vec4<f32>,
  query_b: vec4<f32>,
}

// Where those begin.
struct Places {
  entries: vec4<u32>,
  queries: vec2<u32>,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let row = item.x;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let first_head = group.x / SPLIT_BLOCKS * HEADS_TOGETHER;
  let block = group.x % SPLIT_BLOCKS;
  let first = item.y * TILE * TILES_PER_SPLIT + block * KEYS;
  // Both blocks of a tile are scored if the row has one.
  if (first / TILE * TILE >= keys) {
    return;
  }
  let count = min(KEYS, max(keys, first) - first);
  let carrier = lane / SLAB;
  let carried = min(vec4<u32>(first + carrier) + vec4<u32>(0u, 8u, 16u, 24u), vec4<u32>(keys - 1u));
  let heads = min(vec2<u32>(first_head + carrier) + vec2<u32>(0u, 8u), vec2<u32>(params.HEADS - 1u));
  let places = Places(
    vec4<u32>(
      entry_of(table, carried.x), entry_of(table, carried.y), entry_of(table, carried.z), entry_of(table, carried.w),
    ),
    (vec2<u32>(row * params.HEADS) + heads) * params.ENTRY_VECTORS,
  );
  let sums = params.SCALE * scored(places, lane);
  let key = lane % 16u;
  let base = group.y * ((params.HEADS + 3u) / 4u);
  keep(base, first_head + lane / 16u, block, key, count, sums.xy, lane);
  keep(base, first_head + lane / 16u + 8u, block, key, count, sums.zw, lane + LANES);
  workgroupBarrier();
  let head = first_head + lane;
  if (lane < HEADS_TOGETHER && head < params.HEADS) {
    var all = highest[16u * lane];
    for (var i = 1u; i < 16u; i += 1u) {
      all = max(all, highest[16u * lane + i]);
    }
    scores[4u * ((base + head / 4u) * SCORES_EACH + TILE * TILES_PER_SPLIT + block) + head % 4u] = all;
  }
}

// Near and far key of the first head, then of the second. Padding of a slab counts as 0, which adds nothing.
fn scored(places: Places, lane: u32) -> vec4<f32> {
  let quad = lane % SLAB;
  let at = lane / SLAB * SLAB_STRIDE + quad;
  let step = 8u * SLAB_STRIDE;
  var next = fetched(places, quad);
  var total = vec4<f32>(0.0);
  var part = vec4<f32>(0.0);
  for (var start = 0u; start < params.ENTRY_VECTORS; start += SLAB) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    let is_within = start + quad < params.ENTRY_VECTORS;
    entry_slab[at] = select(vec4<f32>(), page_values(next.entry_a), is_within);
    entry_slab[at + step] = select(vec4<f32>(), page_values(next.entry_b), is_within);
    entry_slab[at + 2u * step] = select(vec4<f32>(), page_values(next.entry_c), is_within);
    entry_slab[at + 3u * step] = select(vec4<f32>(), page_values(next.entry_d), is_within);
    query_slab[at] = select(vec4<f32>(), next.query_a, is_within);
    query_slab[at + step] = select(vec4<f32>(), next.query_b, is_within);
    workgroupBarrier();
    next = fetched(places, start + SLAB + quad);
    let keys = lane % 16u * SLAB_STRIDE;
    let heads = lane / 16u * SLAB_STRIDE;
    for (var i = 0u; i < SLAB; i += 1u) {
      let near = entry_slab[keys + i];
      let far = entry_slab[keys + 2u * step + i];
      let a = query_slab[heads + i];
      let b = query_slab[heads + step + i];
      part = vec4<f32>(
        dot_quad(a, near, part.x), dot_quad(a, far, part.y), dot_quad(b, near, part.z), dot_quad(b, far, part.w),
      );
    }
    if ((start + SLAB) % CHUNK_VECTORS == 0u || start + SLAB >= params.ENTRY_VECTORS) {
      total += part;
      part = vec4<f32>(0.0);
    }
  }
  return total;
}

// Past the end: the last again.
fn fetched(places: Places, vector: u32) -> Fetched {
  let at = min(vector, params.ENTRY_VECTORS - 1u);
  return Fetched(
    pages[places.entries.x + at], pages[places.entries.y + at], pages[places.entries.z + at], pages[places.entries.w + at],
    queries[places.queries.x + at], queries[places.queries.y + at],
  );
}

fn dot_quad(x: vec4<f32>, y: vec4<f32>, sum: f32) -> f32 {
  return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
}

// Of one head, keys `key` and `key` + 16 of a block that has `count`.
fn keep(base: u32, head: u32, block: u32, key: u32, count: u32, score: vec2<f32>, place: u32) {
  let near = select(LOWEST, score.x, key < count);
  let far = select(LOWEST, score.y, key + 16u < count);
  highest[place] = max(near, far);
  if (head < params.HEADS) {
    let at = 4u * ((base + head / 4u) * SCORES_EACH + block * KEYS + key) + head % 4u;
    scores[at] = near;
    scores[at + 64u] = far;
  }
}
