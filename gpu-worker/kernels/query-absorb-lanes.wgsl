// The queries in latent space, four or eight rows at a time by lanes that share them: the bits of query-absorb.wgsl.
//
// Formula and bindings as there; rows up to ROWS_MAX. One workgroup: one head, one unit of eight latent values a lane, four
// rows; heads of at most 32 latent values take half of the lanes, and the other half takes four more rows (UNIT_LANES 4).
// Lane l of UNIT_LANES holds the query values of row 4 l / UNIT_LANES for the others. The lanes of the first units turn
// the rope parts of all rows. Grid: x = heads of this window · units / UNIT_LANES, y = rows / (32 / UNIT_LANES).
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
  UNIT_LANES: u32,
  ROWS_MAX: u32,
}

@group(0) @binding(0) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv_b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const LANES = 8u;

// [row], eight latent values each.
struct FourRows {
  a: Unit,
  b: Unit,
  c: Unit,
  d: Unit,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let units = (params.K + 7u) / 8u;
  let turns = (units + params.UNIT_LANES - 1u) / params.UNIT_LANES;
  let window_head = group.x / turns;
  let head = params.HEAD_START + window_head;
  let unit = group.x % turns * params.UNIT_LANES + lane % params.UNIT_LANES;
  let together = 4u * LANES / params.UNIT_LANES;
  let first = group.y * together;
  // Of this lane's four rows.
  let row = first + lane / params.UNIT_LANES * 4u;
  let sums = absorb(head, window_head * params.ROWS_PER_HEAD, row, min(unit, units - 1u), lane);
  if (unit < units) {
    keep(head, row, unit, sums.a);
    keep(head, row + 1u, unit, sums.b);
    keep(head, row + 2u, unit, sums.c);
    keep(head, row + 3u, unit, sums.d);
  }
  if (group.x % turns == 0u) {
    let half = params.ROPE / 2u;
    for (var i = lane; i < together * half; i += LANES) {
      if (first + i / half < params.ROWS_MAX) {
        turn_pair(head, first + i / half, i % half);
      }
    }
  }
}

fn query_of(head: u32, row: u32) -> u32 {
  return row * params.Q_STRIDE + params.Q_OFFSET + head * (params.NOPE + params.ROPE);
}

fn entry_of(head: u32, row: u32) -> u32 {
  return (row * params.HEADS + head) * params.ENTRY;
}

// Unit `unit` of four rows: rows past ROWS_MAX are computed from the last, and not kept.
fn absorb(head: u32, w_row: u32, row: u32, unit: u32, lane: u32) -> FourRows {
  // Whose values this lane holds, and the first lane of those that share its rows.
  let shared_by = params.UNIT_LANES / 4u;
  let place = lane % params.UNIT_LANES;
  let query = query_of(head, min(row + place / shared_by, params.ROWS_MAX - 1u));
  let leader = lane - place;
  var total = FourRows();
  for (var start = 0u; start < params.NOPE; start += 256u) {
    var part = FourRows();
    let end = min(start + 256u, params.NOPE);
    for (var d = start; d < end; d += 4u) {
      let mine = four_values(query + d, end - d);
      part = add_row(w_row + d, unit, mine.x, leader, shared_by, part);
      if (d + 1u < end) {
        part = add_row(w_row + d + 1u, unit, mine.y, leader, shared_by, part);
      }
      if (d + 2u < end) {
        part = add_row(w_row + d + 2u, unit, mine.z, leader, shared_by, part);
      }
      if (d + 3u < end) {
        part = add_row(w_row + d + 3u, unit, mine.w, leader, shared_by, part);
      }
    }
    total = FourRows(
      sum_of(total.a, part.a), sum_of(total.b, part.b), sum_of(total.c, part.c), sum_of(total.d, part.d),
    );
  }
  return total;
}

// Those from `count` on repeat the last.
fn four_values(at: u32, count: u32) -> vec4<f32> {
  let places = vec4<u32>(at) + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
  return vec4<f32>(q[places.x], q[places.y], q[places.z], q[places.w]);
}

// Row `w_row` of the weights, times each row's value, which its holder has as `mine`.
fn add_row(w_row: u32, unit: u32, mine: f32, leader: u32, shared_by: u32, sums: FourRows) -> FourRows {
  let w = weight_unit(&kv_b, w_row * params.W_VECTORS, unit);
  return FourRows(
    added(w, subgroupShuffle(mine, leader), sums.a),
    added(w, subgroupShuffle(mine, leader + shared_by), sums.b),
    added(w, subgroupShuffle(mine, leader + 2u * shared_by), sums.c),
    added(w, subgroupShuffle(mine, leader + 3u * shared_by), sums.d),
  );
}

fn added(w: Unit, x: f32, sum: Unit) -> Unit {
  return Unit(fma(w.lo, vec4<f32>(x), sum.lo), fma(w.hi, vec4<f32>(x), sum.hi));
}

fn sum_of(a: Unit, b: Unit) -> Unit {
  return Unit(a.lo + b.lo, a.hi + b.hi);
}

// Eight latent values, and zeros in place of those from LATENT on.
fn keep(head: u32, row: u32, unit: u32, sums: Unit) {
  if (row >= params.ROWS_MAX) {
    return;
  }
  let at = entry_of(head, row) + 8u * unit;
  for (var j = 0u; j < min(8u, params.ROPE_START - 8u * unit); j += 1u) {
    let value = select(sums.lo[j & 3u], sums.hi[j & 3u], j >= 4u);
    out[at + j] = select(0.0, value, 8u * unit + j < params.K);
  }
}

// One pair; the last also writes the zeros after the rope part.
fn turn_pair(head: u32, row: u32, pair: u32) {
  let half = params.ROPE / 2u;
  let part = query_of(head, row) + params.NOPE;
  let place = entry_of(head, row) + params.ROPE_START;
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
