// The query in latent space, one entry a head, laid out like a cache entry:
//
//   out[r, h, c] = Σ_d q_nope[r, h, d] · W_k[h, d, c]   for c < LATENT;   RoPE(q_rope[r, h]) from ROPE_START on; else 0
//
//   rope    vec2<f32> [rows, ROPE / 2] (cos, sin), read
//   q       f32 [rows, Q_STRIDE], read: per head NOPE values, then ROPE values, from Q_OFFSET
//   kv_b    one window of kv_b_proj as stored, read: per head NOPE rows W_k, then VALUE rows W_v, [.., LATENT] each
//   out     f32 [rows, HEADS, ENTRY], write
//
// One invocation: one value of one head; d ascends by fma in chunks of 256, chunk sums added in order.
// Grid: x = ENTRY / 64, y = heads of this window, z = rows. Rounds: as the order contract says; the turn as rope.wgsl.
struct Params {
  NOPE: u32,
  ROPE: u32,
  LATENT: u32,
  ROPE_START: u32,
  ENTRY: u32,
  ROWS_PER_HEAD: u32,
  W_VECTORS: u32,
  HEAD_START: u32,
  HEADS: u32,
  Q_STRIDE: u32,
  Q_OFFSET: u32,
  INTERLEAVED: u32,
}

@group(0) @binding(0) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv_b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * 64u + lane;
  if (c >= params.ENTRY) {
    return;
  }
  let head = params.HEAD_START + group.y;
  let row = group.z;
  let query = row * params.Q_STRIDE + params.Q_OFFSET + head * (params.NOPE + params.ROPE);
  var value = 0.0;
  if (c < params.LATENT) {
    value = absorbed(query, group.y * params.ROWS_PER_HEAD, c);
  } else if (c >= params.ROPE_START && c < params.ROPE_START + params.ROPE) {
    value = turned(query + params.NOPE, row, c - params.ROPE_START);
  }
  out[(row * params.HEADS + head) * params.ENTRY + c] = value;
}

fn absorbed(query: u32, w_row: u32, c: u32) -> f32 {
  var total = 0.0;
  for (var start = 0u; start < params.NOPE; start += 256u) {
    var part = 0.0;
    for (var d = start; d < min(start + 256u, params.NOPE); d += 1u) {
      part = fma(weight_at(&kv_b, (w_row + d) * params.W_VECTORS, c), q[query + d], part);
    }
    total += part;
  }
  return total;
}

fn turned(part: u32, row: u32, i: u32) -> f32 {
  let half = params.ROPE / 2u;
  let pair = select(i % half, i / 2u, params.INTERLEAVED != 0u);
  let at = pair_at(pair, params.ROPE, params.INTERLEAVED != 0u);
  let both = turn(q[part + at.x], q[part + at.y], rope[row * half + pair]);
  return select(both.y, both.x, i == at.x);
}
