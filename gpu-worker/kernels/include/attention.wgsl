// What every shader of latent attention is given, and what it must do. Needs pages-*.wgsl and exp.wgsl.
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   items    vec2<u32> (row, split), or (row, WHOLE) for all splits in turn, read: from FIRST_ITEM on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   out      f32 [rows, HEADS, LATENT padded to 4] as vec4, write: of whole rows
//   parts    vec4<f32> [items, HEADS, LATENT padded to 4, then (sum, max, 0, 0)], write: of single splits, not divided
//
// The order contract, equal for every row, prefill or decode:
//   tile   64 keys from a multiple of 64: scores (fma chains in chunks of 256), their maximum, weights exp(s − max so
//          far), Σ weights and Σ weights · entry by ascending keys from 0; then (sum, out) of the split are rescaled
//   split  512 keys from a multiple of 512, started afresh; merged into the total in ascending order, here or by
//          latent-merge.wgsl

const TILE = 64u;
const TILES_PER_SPLIT = 8u;
const WHOLE = 0xffffffffu;
const LOWEST = -3.4028234e38;

struct Params {
  HEADS: u32,
  SCALE: f32,
  ENTRY_VECTORS: u32,
  LATENT_VECTORS: u32,
  // 64 scores are compared as 8 times 8. Not a constant: compilers would unroll it.
  FAN: u32,
  FIRST_ITEM: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> items: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<PageQuad>;
@group(0) @binding(4) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// First quad of the cache entry at `position`.
fn entry_of(table: u32, position: u32) -> u32 {
  return (tables[table + position / 32u] * 32u + position % 32u) * params.ENTRY_VECTORS;
}
