// One row's KV entry, written to its page:
//
//   entry = [ weight · (c / sqrt(mean(c²) + EPS)) | 0 … | RoPE(k) | 0 … ]      c latent, k rope part of the projection
//             LATENT values         up to ROPE_START   ROPE values  up to ENTRY
//
//   rows    vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables  u32 [entries], read: KV block of each 32 tokens of a sequence
//   rope    vec2<f32> [rows, ROPE / 2] (cos, sin), read
//   kv      f32 [rows, KV_STRIDE], read: latent from LATENT_OFFSET, rope part right after it
//   weight  one row [LATENT] as stored, read
//   pages   f32 [blocks, 32, ENTRY], write: this row's entry alone
//
// RoPE turns each pair (a, b) to (a·cos − b·sin, b·cos + a·sin); INTERLEAVED pairs are neighbours, others half a part
// apart. One workgroup: one row. Grid: x = rows. Rounds: as rms-norm.wgsl; the turn: one product, one fma a value.
struct Params {
  LATENT: u32,
  ROPE: u32,
  ROPE_START: u32,
  ENTRY: u32,
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
@group(0) @binding(5) var<storage, read_write> pages: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let position = rows[row].y;
  let block = tables[rows[row].z + position / 32u];
  let entry = (block * 32u + position % 32u) * params.ENTRY;
  let base = row * params.KV_STRIDE + params.LATENT_OFFSET;
  var sum = 0.0;
  for (var i = lane; i < params.LATENT; i += 64u) {
    let c = kv[base + i];
    sum = fma(c, c, sum);
  }
  let root = sqrt(fma(row_sum(lane, sum), params.PER_VALUE, params.EPS));
  for (var i = lane; i < params.ROPE_START; i += 64u) {
    if (i < params.LATENT) {
      pages[entry + i] = weight_at(&weight, 0u, i) * (kv[base + i] / root);
    } else {
      pages[entry + i] = 0.0;
    }
  }
  let part = base + params.LATENT;
  for (var pair = lane; pair < params.ROPE / 2u; pair += 64u) {
    let at = pair_at(pair, params.ROPE, params.INTERLEAVED != 0u);
    let turned = turn(kv[part + at.x], kv[part + at.y], rope[row * (params.ROPE / 2u) + pair]);
    pages[entry + params.ROPE_START + at.x] = turned.x;
    pages[entry + params.ROPE_START + at.y] = turned.y;
  }
  if (params.ROPE_START + params.ROPE + lane < params.ENTRY) {
    pages[entry + params.ROPE_START + params.ROPE + lane] = 0.0;
  }
}
