// latent-scores.wgsl by blocks of 64 keys and 64 heads, eight by eight a lane: the same bits, for steps of many splits.
//
// Formula and bindings as there, scores as f32. A slab of 16 columns of queries and entries lies in workgroup memory; the
// next is fetched before this one is multiplied. Grid: x = heads / 64 · tiles of a split, y = items.
const BLOCK_LANES = 64u;
const BLOCK_HEADS = 64u;
const SLAB = 4u;
// One vector more than a row has: neighbouring rows begin in different banks.
const SLAB_STRIDE = 5u;
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
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// [row][quad]
var<workgroup> entry_slab: array<vec4<f32>, TILE * SLAB_STRIDE>;
var<workgroup> query_slab: array<vec4<f32>, BLOCK_HEADS * SLAB_STRIDE>;

// Of one head, eight keys: lo lane, lane + 8, …, lane + 24; hi the 32 behind.
struct Keys {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

// Eight heads. By name: arrays are not sure to stay in registers.
struct Sums {
  a: Keys,
  b: Keys,
  c: Keys,
  d: Keys,
  e: Keys,
  f: Keys,
  g: Keys,
  h: Keys,
}

// A lane's part of a slab: one quad of every 16th entry and of every 16th query.
struct Fetched {
  entry_a: PageQuad,
  entry_b: PageQuad,
  entry_c: PageQuad,
  entry_d: PageQuad,
  query_a: vec4<f32>,
  query_b: vec4<f32>,
  query_c: vec4<f32>,
  query_d: vec4<f32>,
}

// Where those begin.
struct Places {
  entries: vec4<u32>,
  queries: vec4<u32>,
}

@compute @workgroup_size(BLOCK_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = items[params.FIRST_ITEM + group.y];
  let row = item.x;
  let keys = rows[row].y + 1u;
  let table = rows[row].z;
  let first_head = group.x / TILES_PER_SPLIT * BLOCK_HEADS;
  let split_tile = group.x % TILES_PER_SPLIT;
  let first = (item.y * TILES_PER_SPLIT + split_tile) * TILE;
  if (first >= keys) {
    return;
  }
  let count = min(TILE, keys - first);
  let carried = vec4<u32>(lane / SLAB) + vec4<u32>(0u, 16u, 32u, 48u);
  let key = min(carried, vec4<u32>(count - 1u)) + vec4<u32>(first);
  let head = min(carried + vec4<u32>(first_head), vec4<u32>(params.HEADS - 1u));
  let places = Places(
    vec4<u32>(entry_of(table, key.x), entry_of(table, key.y), entry_of(table, key.z), entry_of(table, key.w)),
    (vec4<u32>(row * params.HEADS) + head) * params.ENTRY_VECTORS,
  );
  let sums = scored(places, lane);
  let own_head = first_head + lane / 8u;
  let at = Target(group.y * ((params.HEADS + 3u) / 4u), split_tile * TILE + lane % 8u, lane % 8u, count);
  let highest_ab = vec4<f32>(keep(at, own_head, sums.a), keep(at, own_head + 8u, sums.b));
  let highest_cd = vec4<f32>(keep(at, own_head + 16u, sums.c), keep(at, own_head + 24u, sums.d));
  let highest_ef = vec4<f32>(keep(at, own_head + 32u, sums.e), keep(at, own_head + 40u, sums.f));
  let highest_gh = vec4<f32>(keep(at, own_head + 48u, sums.g), keep(at, own_head + 56u, sums.h));
  // Others may still be reading the last slab, whose memory holds maxima now: [pair of heads][lane].
  workgroupBarrier();
  entry_slab[lane] = highest_ab;
  entry_slab[lane + BLOCK_LANES] = highest_cd;
  entry_slab[lane + 2u * BLOCK_LANES] = highest_ef;
  entry_slab[lane + 3u * BLOCK_LANES] = highest_gh;
  workgroupBarrier();
  if (first_head + lane < params.HEADS) {
    keep_maxima(at, first_head + lane, lane, split_tile);
  }
}

fn scored(places: Places, lane: u32) -> Sums {
  let quad = lane % SLAB;
  var next = fetched(places, quad);
  var total = Sums();
  var part = Sums();
  for (var start = 0u; start < params.ENTRY_VECTORS; start += SLAB) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    fill_slabs(next, lane / SLAB * SLAB_STRIDE + quad, start + quad < params.ENTRY_VECTORS);
    workgroupBarrier();
    next = fetched(places, start + SLAB + quad);
    for (var i = 0u; i < SLAB; i += 1u) {
      let keys = lane % 8u * SLAB_STRIDE + i;
      let step = 8u * SLAB_STRIDE;
      let lo = Quads(entry_slab[keys], entry_slab[keys + step], entry_slab[keys + 2u * step], entry_slab[keys + 3u * step]);
      let hi = Quads(
        entry_slab[keys + 4u * step], entry_slab[keys + 5u * step], entry_slab[keys + 6u * step], entry_slab[keys + 7u * step],
      );
      part = with_heads(lane / 8u * SLAB_STRIDE + i, lo, hi, part);
    }
    if ((start + SLAB) % CHUNK_VECTORS == 0u || start + SLAB >= params.ENTRY_VECTORS) {
      total = Sums(
        added(total.a, part.a), added(total.b, part.b), added(total.c, part.c), added(total.d, part.d),
        added(total.e, part.e), added(total.f, part.f), added(total.g, part.g), added(total.h, part.h),
      );
      part = Sums();
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
    queries[places.queries.z + at], queries[places.queries.w + at],
  );
}

// Padding of the last slab counts as 0, which adds nothing.
fn fill_slabs(next: Fetched, at: u32, is_within: bool) {
  let step = 16u * SLAB_STRIDE;
  entry_slab[at] = select(vec4<f32>(), page_values(next.entry_a), is_within);
  entry_slab[at + step] = select(vec4<f32>(), page_values(next.entry_b), is_within);
  entry_slab[at + 2u * step] = select(vec4<f32>(), page_values(next.entry_c), is_within);
  entry_slab[at + 3u * step] = select(vec4<f32>(), page_values(next.entry_d), is_within);
  query_slab[at] = select(vec4<f32>(), next.query_a, is_within);
  query_slab[at + step] = select(vec4<f32>(), next.query_b, is_within);
  query_slab[at + 2u * step] = select(vec4<f32>(), next.query_c, is_within);
  query_slab[at + 3u * step] = select(vec4<f32>(), next.query_d, is_within);
}

// One quad of columns for eight heads and eight keys.
fn with_heads(at: u32, lo: Quads, hi: Quads, sums: Sums) -> Sums {
  let step = 8u * SLAB_STRIDE;
  return Sums(
    with_keys(query_slab[at], lo, hi, sums.a), with_keys(query_slab[at + step], lo, hi, sums.b),
    with_keys(query_slab[at + 2u * step], lo, hi, sums.c), with_keys(query_slab[at + 3u * step], lo, hi, sums.d),
    with_keys(query_slab[at + 4u * step], lo, hi, sums.e), with_keys(query_slab[at + 5u * step], lo, hi, sums.f),
    with_keys(query_slab[at + 6u * step], lo, hi, sums.g), with_keys(query_slab[at + 7u * step], lo, hi, sums.h),
  );
}

fn with_keys(query: vec4<f32>, lo: Quads, hi: Quads, sums: Keys) -> Keys {
  return Keys(
    dot_quads(query, lo.a, lo.b, lo.c, lo.d, sums.lo),
    dot_quads(query, hi.a, hi.b, hi.c, hi.d, sums.hi),
  );
}

fn added(a: Keys, b: Keys) -> Keys {
  return Keys(a.lo + b.lo, a.hi + b.hi);
}

// Where a lane's scores go: first quad of heads of the item, first key in the split and in the tile; and keys of the tile.
struct Target {
  first_quad: u32,
  place: u32,
  key: u32,
  count: u32,
}

// Returns the highest of the first 32 keys and of the last.
fn keep(to: Target, head: u32, sums: Keys) -> vec2<f32> {
  let keys = vec4<u32>(to.key) + vec4<u32>(0u, 8u, 16u, 24u);
  let lo = select(vec4<f32>(LOWEST), params.SCALE * sums.lo, keys < vec4<u32>(to.count));
  let hi = select(vec4<f32>(LOWEST), params.SCALE * sums.hi, keys + vec4<u32>(32u) < vec4<u32>(to.count));
  if (head < params.HEADS) {
    let at = 4u * ((to.first_quad + head / 4u) * SCORES_EACH + to.place) + head % 4u;
    scores[at] = lo.x;
    scores[at + 32u] = lo.y;
    scores[at + 64u] = lo.z;
    scores[at + 96u] = lo.w;
    scores[at + 128u] = hi.x;
    scores[at + 160u] = hi.y;
    scores[at + 192u] = hi.z;
    scores[at + 224u] = hi.w;
  }
  return vec2<f32>(max(max(lo.x, lo.y), max(lo.z, lo.w)), max(max(hi.x, hi.y), max(hi.z, hi.w)));
}

// Of head `own` of the block: eight lanes have its keys.
fn keep_maxima(to: Target, head: u32, own: u32, tile: u32) {
  let first = own / 16u * BLOCK_LANES + own % 8u * 8u;
  var all = entry_slab[first];
  for (var i = 1u; i < 8u; i += 1u) {
    all = max(all, entry_slab[first + i]);
  }
  let is_last = own / 8u % 2u != 0u;
  let at = 4u * ((to.first_quad + head / 4u) * SCORES_EACH + TILE * TILES_PER_SPLIT + 2u * tile) + head % 4u;
  scores[at] = select(all.x, all.z, is_last);
  scores[at + 4u] = select(all.y, all.w, is_last);
}
