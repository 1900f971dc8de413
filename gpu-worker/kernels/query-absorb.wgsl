// The query in latent space, one entry a head, laid out like a cache entry:
//
//   out[r, h, c] = Σ_d q_nope[r, h, d] · W_k[h, d, c]   for c < LATENT;   RoPE(q_rope[r, h]) from ROPE_START on; else 0
//
//   rope    vec2<f32> [rows, ROPE / 2] (cos, sin), read
//   q       f32 [rows, Q_STRIDE], read: per head NOPE values, then ROPE values, from Q_OFFSET
//   kv_b    one window of kv_b_proj, row records, read: a head's NOPE rows W_k, then its VALUE rows W_v, of LATENT
//   out     f32 [rows, HEADS, ENTRY], write
//
// One invocation: eight latent values of one head, or one pair of its rope part; d ascends by fma in chunks of 256,
// chunk sums added in order. Grid: x = heads of this window · (LATENT / 8 + ROPE / 2) / 64, y = rows.
// Rounds: as the order contract says; the turn as rope.wgsl.
struct Params {
  NOPE: u32,
  ROPE: u32,
  // LATENT: columns of a weight row.
  K: u32,
  ROPE_START: u32,
  ENTRY: u32,
  ROWS_PER_HEAD: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  HEAD_START: u32,
  WINDOW_HEADS: u32,
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
  let units = (params.K + 7u) / 8u;
  let per_head = units + params.ROPE / 2u;
  let i = group.x * 64u + lane;
  let window_head = i / per_head;
  if (window_head >= params.WINDOW_HEADS) {
    return;
  }
  let head = params.HEAD_START + window_head;
  let row = group.y;
  let query = row * params.Q_STRIDE + params.Q_OFFSET + head * (params.NOPE + params.ROPE);
  let entry = (row * params.HEADS + head) * params.ENTRY;
  let part = i % per_head;
  if (part < units) {
    absorb(query, window_head * params.ROWS_PER_HEAD, part, entry);
  } else {
    turn_pair(query + params.NOPE, row, part - units, entry + params.ROPE_START);
  }
}

// Eight latent values, and zeros in place of those from LATENT on.
fn absorb(query: u32, w_row: u32, unit: u32, entry: u32) {
  var total = Unit();
  for (var start = 0u; start < params.NOPE; start += 256u) {
    var part = Unit();
    for (var d = start; d < min(start + 256u, params.NOPE); d += 1u) {
      let w = weight_unit(&kv_b, (w_row + d) * params.W_VECTORS, unit);
      let x = vec4<f32>(q[query + d]);
      part.lo = fma(w.lo, x, part.lo);
      part.hi = fma(w.hi, x, part.hi);
    }
    total.lo += part.lo;
    total.hi += part.hi;
  }
  for (var j = 0u; j < min(8u, params.ROPE_START - 8u * unit); j += 1u) {
    let value = select(total.lo[j & 3u], total.hi[j & 3u], j >= 4u);
    out[entry + 8u * unit + j] = select(0.0, value, 8u * unit + j < params.K);
  }
}

// One pair; the last also writes the zeros after the rope part.
fn turn_pair(part: u32, row: u32, pair: u32, place: u32) {
  let half = params.ROPE / 2u;
  let at = pair_at(pair, params.ROPE, params.INTERLEAVED != 0u);
  let both = turn(q[part + at.x], q[part + at.y], rope[row * half + pair]);
  out[place + at.x] = both.x;
  out[place + at.y] = both.y;
  if (pair + 1u == half) {
    for (var i = params.ROPE; params.ROPE_START + i < params.ENTRY; i += 1u) {
      out[place + i] = 0.0;
    }
  }
}
