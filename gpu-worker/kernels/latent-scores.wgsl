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
// bring entries and queries together, SLAB vec4 of each at a time, two slabs ahead: few workgroups wait for memory most of all.
// Grid: x = heads / 16 · blocks of a split, y = items. Order and rounding: attention.wgsl.
const LANES = 128u;
const HEADS_TOGETHER = 16u;
const KEYS = 32u;
const SLAB = 8u;
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

// What a lane brings of a slab: one vec4 of two entries and of one query.
struct Fetched {
  near: PageQuad,
  far: PageQuad,
  query: vec4<f32>,
}

// Where those begin.
struct Places {
  near: u32,
  far: u32,
  query: u32,
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
  let last = keys - 1u;
  let places = Places(
    entry_of(table, min(first + carrier, last)),
    entry_of(table, min(first + carrier + 16u, last)),
    (row * params.HEADS + min(first_head + carrier, params.HEADS - 1u)) * params.ENTRY_VECTORS,
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
  var now = fetched(places, quad);
  var next = fetched(places, SLAB + quad);
  var total = vec4<f32>(0.0);
  var part = vec4<f32>(0.0);
  for (var start = 0u; start < params.ENTRY_VECTORS; start += SLAB) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    let is_within = start + quad < params.ENTRY_VECTORS;
    entry_slab[at] = select(vec4<f32>(), page_values(now.near), is_within);
    entry_slab[at + 16u * SLAB_STRIDE] = select(vec4<f32>(), page_values(now.far), is_within);
    query_slab[at] = select(vec4<f32>(), now.query, is_within);
    workgroupBarrier();
    now = next;
    next = fetched(places, start + 2u * SLAB + quad);
    for (var i = 0u; i < SLAB; i += 1u) {
      let keys = lane % 16u * SLAB_STRIDE + i;
      let heads = lane / 16u * SLAB_STRIDE + i;
      let near = entry_slab[keys];
      let far = entry_slab[keys + 16u * SLAB_STRIDE];
      let a = query_slab[heads];
      let b = query_slab[heads + 8u * SLAB_STRIDE];
      part = fma(vec4<f32>(a.x, a.x, b.x, b.x), vec4<f32>(near.x, far.x, near.x, far.x), part);
      part = fma(vec4<f32>(a.y, a.y, b.y, b.y), vec4<f32>(near.y, far.y, near.y, far.y), part);
      part = fma(vec4<f32>(a.z, a.z, b.z, b.z), vec4<f32>(near.z, far.z, near.z, far.z), part);
      part = fma(vec4<f32>(a.w, a.w, b.w, b.w), vec4<f32>(near.w, far.w, near.w, far.w), part);
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
  return Fetched(pages[places.near + at], pages[places.far + at], queries[places.query + at]);
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
