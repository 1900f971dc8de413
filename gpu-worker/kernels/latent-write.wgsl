// What one row's first projection leaves: its KV entry, written to its page, and its normed low-rank query.
//
//   entry = [ weight · (c / sqrt(mean(c²) + EPS)) | 0 … | RoPE(k) | 0 … ]      c latent, k rope part of the projection
//             LATENT values        LATENT_QUADS·4  ROPE values  ENTRY_QUADS·4
//   query[r, i] = query_weight[i] · (a[i] / sqrt(mean(a²) + EPS))              a the first QUERY values of the projection
//
//   rows          vec4<u32> [rows] (token, position, first table entry, 0), read
//   tables        u32 [entries], read: KV block of each 32 tokens of a sequence
//   rope          vec2<f32> [rows, ROPE / 2] (cos, sin), read
//   projected     f32 [rows, STRIDE], read: latent from LATENT_OFFSET, rope part right after it
//   weight        f32 [LATENT], read
//   query_weight  f32 [QUERY], read
//   pages         f32 or f16 [blocks, 32, ENTRY] as quads (pages-*.wgsl), write: this row's entry alone, in whole quads
//   query         f32 [rows, QUERY_STRIDE], write
//
// RoPE turns each pair (a, b) to (a·cos − b·sin, b·cos + a·sin); INTERLEAVED pairs are neighbours, others half a part
// apart. One workgroup: one row's entry or query, a lane a quad. Grid: x = rows, y = entry, query if the model has one.
// Rounds: as rms-norm.wgsl; the turn: one product, one fma a value; then as the pages do.
struct Params {
  LATENT: u32,
  ROPE: u32,
  LATENT_QUADS: u32,
  ENTRY_QUADS: u32,
  STRIDE: u32,
  LATENT_OFFSET: u32,
  QUERY: u32,
  QUERY_STRIDE: u32,
  EPS: f32,
  INTERLEAVED: u32,
  // 1 / LATENT
  PER_LATENT: f32,
  // 1 / QUERY
  PER_QUERY: f32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> query_weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> pages: array<PageQuad>;
@group(0) @binding(7) var<storage, read_write> query: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let start = row * params.STRIDE;
  if (group.y == 0u) {
    write_entry(row, start + params.LATENT_OFFSET, lane);
  } else {
    norm_query(row, start, lane);
  }
}

fn write_entry(row: u32, latent: u32, lane: u32) {
  let position = rows[row].y;
  let block = tables[rows[row].z + position / 32u];
  let entry = (block * 32u + position % 32u) * params.ENTRY_QUADS;
  let root = root_of(latent, params.LATENT, params.PER_LATENT, lane);
  for (var quad = lane; quad < params.ENTRY_QUADS; quad += LANES) {
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
      let i = 4u * quad + j;
      if (i < params.LATENT) {
        values[j] = weight[i] * (projected[latent + i] / root);
      } else if (quad >= params.LATENT_QUADS && i - 4u * params.LATENT_QUADS < params.ROPE) {
        values[j] = turned(latent + params.LATENT, row, i - 4u * params.LATENT_QUADS);
      }
    }
    pages[entry + quad] = page_quad(values);
  }
}

fn norm_query(row: u32, start: u32, lane: u32) {
  let root = root_of(start, params.QUERY, params.PER_QUERY, lane);
  for (var i = lane; i < params.QUERY; i += LANES) {
    query[row * params.QUERY_STRIDE + i] = query_weight[i] * (projected[start + i] / root);
  }
}

fn root_of(start: u32, width: u32, per_value: f32, lane: u32) -> f32 {
  var sum = 0.0;
  for (var strand = lane; 4u * strand < width && strand < STRANDS; strand += LANES) {
    var squares = 0.0;
    for (var i = 4u * strand; i < width; i += 4u * STRANDS) {
      for (var at = i; at < min(i + 4u, width); at += 1u) {
        squares = fma(projected[start + at], projected[start + at], squares);
      }
    }
    sum += squares;
  }
  return sqrt(fma(row_sum(lane, sum), per_value, params.EPS));
}

// Value i of the turned rope part.
fn turned(part: u32, row: u32, i: u32) -> f32 {
  let half = params.ROPE / 2u;
  let is_interleaved = params.INTERLEAVED != 0u;
  let pair = select(i % half, i / 2u, is_interleaved);
  let at = pair_at(pair, params.ROPE, is_interleaved);
  let both = turn(projected[part + at.x], projected[part + at.y], rope[row * half + pair]);
  return select(both.y, both.x, i == at.x);
}
