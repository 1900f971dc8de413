// The queries in latent space by whole workgroups, which decode a slab of W_k once for all their rows: query-absorb.wgsl's
// bits.
//
// Formula and bindings as there; rows up to ROWS_MAX. One workgroup: one head, 64 latent values, 4 · ROW_QUADS rows. A slab is
// 32 rows of W_k; the next is fetched, undecoded, before this one is multiplied. The workgroups of the first columns turn
// the rope parts of all their rows. Needs a units include.
//
//   lane = 16 · row quad + column quad     four latent values of four rows
//
// Grid: x = heads of this window · LATENT / 64, y = rows / (4 · ROW_QUADS).
override ROW_QUADS: u32;

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
  ROWS_MAX: u32,
}

@group(0) @binding(0) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv_b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const LANES = 128u;
const COLUMN_QUADS = 16u;
const SLAB_ROWS = 32u;
const CHUNK_ROWS = 256u;

// [row of W_k][quad of columns]; [row of W_k][quad of rows], a component a row.
var<workgroup> weight_slab: array<vec4<f32>, SLAB_ROWS * COLUMN_QUADS>;
var<workgroup> query_slab: array<vec4<f32>, SLAB_ROWS * ROW_QUADS>;

// A lane's part of a slab: a unit of eight columns of two rows of W_k, and four queries' value of one, where there are eight
// fours of rows of two.
struct Fetched {
  first: PackedUnit,
  last: PackedUnit,
  queries: vec4<f32>,
  more_queries: vec4<f32>,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let slices = (params.K + 63u) / 64u;
  let window_head = group.x / slices;
  let slice = group.x % slices;
  let head = params.HEAD_START + window_head;
  let first_row = group.y * 4u * ROW_QUADS;
  let sums = absorb(window_head * params.ROWS_PER_HEAD, head, slice, first_row, lane);
  let column = 64u * slice + 4u * (lane % COLUMN_QUADS);
  let row = first_row + 4u * (lane / COLUMN_QUADS);
  if (lane / COLUMN_QUADS < ROW_QUADS && column < params.ROPE_START) {
    keep(head, row, column, sums[0]);
    keep(head, row + 1u, column, sums[1]);
    keep(head, row + 2u, column, sums[2]);
    keep(head, row + 3u, column, sums[3]);
  }
  if (slice == 0u) {
    let half = params.ROPE / 2u;
    for (var i = lane; i < 4u * ROW_QUADS * half; i += LANES) {
      if (first_row + i / half < params.ROWS_MAX) {
        turn_pair(head, first_row + i / half, i % half);
      }
    }
  }
}

fn query_of(head: u32, row: u32) -> u32 {
  return row * params.Q_STRIDE + params.Q_OFFSET + head * (params.NOPE + params.ROPE);
}

fn place_of(head: u32, row: u32) -> u32 {
  return (row * params.HEADS + head) * params.ENTRY;
}

// A row a column of the result. Rows of W_k past the last count as 0, which adds nothing.
fn absorb(w_row: u32, head: u32, slice: u32, first_row: u32, lane: u32) -> mat4x4<f32> {
  let units = (params.K + 7u) / 8u;
  let unit = min(8u * slice + lane % 8u, units - 1u);
  let row_quad = min(lane / COLUMN_QUADS, ROW_QUADS - 1u);
  var total = mat4x4<f32>();
  var part = mat4x4<f32>();
  var next = fetched(w_row, head, first_row, 0u, unit, lane);
  for (var start = 0u; start < params.NOPE; start += SLAB_ROWS) {
    // Others may still be reading the slab before.
    workgroupBarrier();
    keep_unit(next.first, start, lane / 8u, lane % 8u);
    keep_unit(next.last, start, lane / 8u + 16u, lane % 8u);
    if (lane < SLAB_ROWS * ROW_QUADS) {
      query_slab[lane] = next.queries;
    }
    if (lane + LANES < SLAB_ROWS * ROW_QUADS) {
      query_slab[lane + LANES] = next.more_queries;
    }
    workgroupBarrier();
    next = fetched(w_row, head, first_row, start + SLAB_ROWS, unit, lane);
    if (lane / COLUMN_QUADS < ROW_QUADS) {
      for (var d = 0u; d < SLAB_ROWS; d += 1u) {
        let w = weight_slab[d * COLUMN_QUADS + lane % COLUMN_QUADS];
        let x = query_slab[d * ROW_QUADS + row_quad];
        part = mat4x4<f32>(
          fma(w, vec4<f32>(x.x), part[0]), fma(w, vec4<f32>(x.y), part[1]),
          fma(w, vec4<f32>(x.z), part[2]), fma(w, vec4<f32>(x.w), part[3]),
        );
      }
    }
    if ((start + SLAB_ROWS) % CHUNK_ROWS == 0u || start + SLAB_ROWS >= params.NOPE) {
      total += part;
      part = mat4x4<f32>();
    }
  }
  return total;
}

fn fetched(w_row: u32, head: u32, first_row: u32, start: u32, unit: u32, lane: u32) -> Fetched {
  let rows = min(vec2<u32>(start + lane / 8u) + vec2<u32>(0u, 16u), vec2<u32>(params.NOPE - 1u)) + vec2<u32>(w_row);
  var next = Fetched(
    packed_unit(&kv_b, rows.x * params.W_VECTORS, unit),
    packed_unit(&kv_b, rows.y * params.W_VECTORS, unit),
    vec4<f32>(),
    vec4<f32>(),
  );
  if (lane < SLAB_ROWS * ROW_QUADS) {
    next.queries = four_queries(head, first_row, start, lane);
  }
  if (lane + LANES < SLAB_ROWS * ROW_QUADS) {
    next.more_queries = four_queries(head, first_row, start, lane + LANES);
  }
  return next;
}

// Of a slab's queries [row of W_k][quad of rows] one vec4, a component a row.
fn four_queries(head: u32, first_row: u32, start: u32, place: u32) -> vec4<f32> {
  let d = start + place / ROW_QUADS;
  let rows = min(vec4<u32>(first_row + 4u * (place % ROW_QUADS)) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.ROWS_MAX - 1u));
  let own = rows * params.Q_STRIDE + vec4<u32>(query_of(head, 0u) + min(d, params.NOPE - 1u));
  return select(vec4<f32>(), vec4<f32>(q[own.x], q[own.y], q[own.z], q[own.w]), d < params.NOPE);
}

fn keep_unit(packed: PackedUnit, start: u32, d: u32, unit: u32) {
  let values = unit_of(packed);
  let is_within = start + d < params.NOPE;
  let at = d * COLUMN_QUADS + 2u * unit;
  weight_slab[at] = select(vec4<f32>(), values.lo, is_within);
  weight_slab[at + 1u] = select(vec4<f32>(), values.hi, is_within);
}

// Four latent values, and zeros in place of those from LATENT on.
fn keep(head: u32, row: u32, column: u32, sums: vec4<f32>) {
  if (row >= params.ROWS_MAX) {
    return;
  }
  let at = place_of(head, row) + column;
  let values = select(vec4<f32>(), sums, vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.K));
  out[at] = values.x;
  out[at + 1u] = values.y;
  out[at + 2u] = values.z;
  out[at + 3u] = values.w;
}

// One pair; the last also writes the zeros after the rope part.
fn turn_pair(head: u32, row: u32, pair: u32) {
  let half = params.ROPE / 2u;
  let part = query_of(head, row) + params.NOPE;
  let place = place_of(head, row) + params.ROPE_START;
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
