// One row's KV entry, written to its page:
//
//   entry = [ weight · (c / sqrt(mean(c²) + EPS)) | 0 … | RoPE(k) | 0 … ]      c latent, k rope part of the projection
//             LATENT values        LATENT_QUADS·4  ROPE values  ENTRY_QUADS·4
//
//   rows    vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables  u32 [entries], read: KV block of each 32 tokens of a sequence
//   rope    vec2<f32> [rows, ROPE / 2] (cos, sin), read
//   kv      f32 [rows, KV_STRIDE], read: latent from LATENT_OFFSET, rope part right after it
//   weight  one row [LATENT] as stored, read
//   pages   f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), write: this row's entry alone, in whole quads
//
// RoPE turns each pair (a, b) to (a·cos − b·sin, b·cos + a·sin); INTERLEAVED pairs are neighbours, others half a part
// apart. One workgroup: one row, a lane a quad. Grid: x = rows. Rounds: as rms-norm.wgsl; the turn: one product, one
// fma a value; then as the pages do.
struct Params {
  LATENT: u32,
  ROPE: u32,
  LATENT_QUADS: u32,
  ENTRY_QUADS: u32,
  KV_STRIDE: u32,
  LATENT_OFFSET: u32,
  // 1 / LATENT
  PER_VALUE: f32,
  EPS: f32,
  INTERLEAVED: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kv: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> pages: array<PageQuad>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let position = rows[row].y;
  let block = tables[rows[row].z + position / 32u];
  let entry = (block * 32u + position % 32u) * params.ENTRY_QUADS;
  let latent = row * params.KV_STRIDE + params.LATENT_OFFSET;
  var sum = 0.0;
  for (var i = lane; i < params.LATENT; i += 64u) {
    let c = kv[latent + i];
    sum = fma(c, c, sum);
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var quad = lane; quad < params.ENTRY_QUADS; quad += 64u) {
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
      let i = 4u * quad + j;
      if (i < params.LATENT) {
        values[j] = weight_at(&weight, 0u, i) * (kv[latent + i] / root);
      } else if (quad >= params.LATENT_QUADS && i - 4u * params.LATENT_QUADS < params.ROPE) {
        values[j] = turned(latent + params.LATENT, row, i - 4u * params.LATENT_QUADS);
      }
    }
    pages[entry + quad] = page_quad(values);
  }
}

// Value i of the turned rope part.
fn turned(part: u32, row: u32, i: u32) -> f32 {
  let half = params.ROPE / 2u;
  let is_interleaved = params.INTERLEAVED != 0u;
  let pair = select(i % half, i / 2u, is_interleaved);
  let at = pair_at(pair, params.ROPE, is_interleaved);
  let both = turn(kv[part + at.x], kv[part + at.y], rope[row * half + pair]);
  return select(both.y, both.x, i == at.x);
}
