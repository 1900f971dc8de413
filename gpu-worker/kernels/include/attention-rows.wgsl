// What a shader is given that computes all of latent attention, rows or splits. Needs pages-*.wgsl.
//
//   rows     vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables   u32 [entries], read: KV block of each 32 tokens of a sequence
//   items    vec2<u32> (row, split), or (row, WHOLE) for all splits in turn, read: from FIRST_ITEM on
//   pages    f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), read: only positions 0 … position
//   queries  f32 [rows, HEADS, ENTRY] as vec4, read
//   out      f32 [rows, HEADS, LATENT padded to 4] as vec4, write: of whole rows
//   parts    vec4<f32> [items, HEADS, LATENT padded to 4, then (sum, max, 0, 0)], write: of single splits, not divided

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
