// The scores of splits, eight heads and one tile of keys a workgroup: for steps of few splits, on GPUs.
//
//   s[h, j] = SCALE · (query_h · entry_j),  LOWEST for keys that the row does not have
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   items    vec2<u32> (row, split), read: from FIRST_ITEM on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   scores   f32 [items, HEADS / 4, 512 keys, four heads] as vec4, write: of tiles that the row has
//
// A lane scores one key for four heads; past the last head: the last again. Lanes bring the entries together, STAGE vec4 of
// each at a time, two stages ahead. Grid: x = heads / 8 · tiles of a split, y = items. Order and rounding: attention.wgsl.
const HEADS_TOGETHER = 8u;
const STAGE = 8u;
// One more than keys: the lanes that bring one entry write to different banks.
const STAGE_STRIDE = TILE + 1u;
const CHUNK_VECTORS = 64u;

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
@group(0) @binding(5) var<storage, read_write> scores: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> params: Params;

// [STAGE, keys]; [heads, STAGE].
var<workgroup> entry_stage: array<vec4<f32>, STAGE * STAGE_STRIDE>;
var<workgroup> query_stage: array<vec4<f32>, HEADS_TOGETHER * STAGE>;

// What a lane brings of a stage: one vec4 of four entries and, in the lower lanes, of one query.
struct Fetched {
  a: PageQuad,
  b: PageQuad,
  c: PageQuad,
  d: PageQuad,
  query: vec4<f32>,
}

// Where those begin.
struct Places {
  entries: vec4<u32>,
  query: u32,
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let row = item.x;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let first_head = group.x / TILES_PER_SPLIT * HEADS_TOGETHER;
  let split_tile = group.x % TILES_PER_SPLIT;
  let first = (item.y * TILES_PER_SPLIT + split_tile) * TILE;
  if (first >= keys) {
    return;
  }
  let count = min(TILE, keys - first);
  let carrier = lane / STAGE;
  let carried = min(vec4<u32>(carrier) + vec4<u32>(0u, 16u, 32u, 48u), vec4<u32>(count - 1u)) + vec4<u32>(first);
  let head = min(first_head + carrier % HEADS_TOGETHER, params.HEADS - 1u);
  let places = Places(
    vec4<u32>(
      entry_of(table, carried.x), entry_of(table, carried.y), entry_of(table, carried.z), entry_of(table, carried.w),
    ),
    (row * params.HEADS + head) * params.ENTRY_VECTORS,
  );
  let quad = lane / TILE;
  let score = params.SCALE * scored(places, quad, lane);
  let at = (group.y * ((params.HEADS + 3u) / 4u) + first_head / 4u + quad) * (TILE * TILES_PER_SPLIT);
  if (first_head + 4u * quad < params.HEADS) {
    let place = at + split_tile * TILE + lane % TILE;
    scores[place] = select(vec4<f32>(LOWEST), score, lane % TILE < count);
  }
}

// Key lane % 64 for four heads. Padding of a stage counts as 0, which adds nothing.
fn scored(places: Places, quad: u32, lane: u32) -> vec4<f32> {
  let place = lane % STAGE;
  var now = fetched(places, place);
  var next = fetched(places, STAGE + place);
  var total = vec4<f32>(0.0);
  var part = vec4<f32>(0.0);
  for (var start = 0u; start < params.ENTRY_VECTORS; start += STAGE) {
    // Others may still be reading the stage before.
    workgroupBarrier();
    let is_within = start + place < params.ENTRY_VECTORS;
    let at = place * STAGE_STRIDE + lane / STAGE;
    entry_stage[at] = select(vec4<f32>(), page_values(now.a), is_within);
    entry_stage[at + 16u] = select(vec4<f32>(), page_values(now.b), is_within);
    entry_stage[at + 32u] = select(vec4<f32>(), page_values(now.c), is_within);
    entry_stage[at + 48u] = select(vec4<f32>(), page_values(now.d), is_within);
    if (lane < HEADS_TOGETHER * STAGE) {
      query_stage[lane] = select(vec4<f32>(), now.query, is_within);
    }
    workgroupBarrier();
    now = next;
    next = fetched(places, start + 2u * STAGE + place);
    for (var i = 0u; i < STAGE; i += 1u) {
      let own = quad * 4u * STAGE + i;
      let a = query_stage[own];
      let b = query_stage[own + STAGE];
      let c = query_stage[own + 2u * STAGE];
      let d = query_stage[own + 3u * STAGE];
      part = dot_quads(entry_stage[i * STAGE_STRIDE + lane % TILE], a, b, c, d, part);
    }
    if ((start + STAGE) % CHUNK_VECTORS == 0u || start + STAGE >= params.ENTRY_VECTORS) {
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
    queries[places.query + at],
  );
}
