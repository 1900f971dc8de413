// y[r, h · VALUE + v] = Σ_c W_v[h, v, c] · mixed[r, h, c], four or eight rows at a time by lanes that share them: the bits of
// value-up.wgsl.
//
//   mixed  f32 [ROWS_MAX, HEADS, MIXED_VECTORS] as vec4, read: LATENT values a head, then padding
//   kv_b   one window of kv_b_proj, row records, read: a head's NOPE rows W_k, then its VALUE rows W_v, of LATENT
//   y      f32 [ROWS_MAX, Y_STRIDE], write
//
// One workgroup: 32 values of one head, four a lane, and ROWS_TOGETHER rows; rows past the step's last are computed from
// whatever lies there and read by nobody. Grid: x = heads of this window · VALUE / 32, y = rows / ROWS_TOGETHER. Rounds as
// dot.wgsl.
override ROWS_TOGETHER: u32;

struct Params {
  NOPE: u32,
  VALUE: u32,
  // LATENT: columns of a weight row.
  K: u32,
  MIXED_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  HEAD_START: u32,
  WINDOW_HEADS: u32,
  HEADS: u32,
  Y_STRIDE: u32,
  ROWS_MAX: u32,
}

@group(0) @binding(0) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv_b: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let groups = (params.VALUE + 4u * LANES - 1u) / (4u * LANES);
  let window_head = group.x / groups;
  let head = params.HEAD_START + window_head;
  let v = 4u * (group.x % groups * LANES + lane);
  let row = group.y * ROWS_TOGETHER;
  let first = (window_head * (params.NOPE + params.VALUE) + params.NOPE) * params.W_VECTORS;
  let w_bases = vec4<u32>(first) + weight_rows(v, params.VALUE, params.W_VECTORS);
  let rows = min(vec2<u32>(row + lane / 2u) + vec2<u32>(0u, 4u), vec2<u32>(params.ROWS_MAX - 1u));
  let bases = (rows * params.HEADS + head) * params.MIXED_VECTORS;
  if (ROWS_TOGETHER == 4u) {
    keep(head, v, row, dot_four(&kv_b, w_bases, &mixed, bases.x, params.K, lane));
  } else {
    let sums = dot_eight(&kv_b, w_bases, &mixed, bases, params.K, lane);
    keep(head, v, row, sums.first);
    keep(head, v, row + 4u, sums.last);
  }
}

fn keep(head: u32, v: u32, row: u32, sums: mat4x4<f32>) {
  keep_row(head, v, row, sums[0]);
  keep_row(head, v, row + 1u, sums[1]);
  keep_row(head, v, row + 2u, sums[2]);
  keep_row(head, v, row + 3u, sums[3]);
}

fn keep_row(head: u32, v: u32, row: u32, sums: vec4<f32>) {
  if (row >= params.ROWS_MAX) {
    return;
  }
  for (var j = 0u; j < 4u && v + j < params.VALUE; j += 1u) {
    y[row * params.Y_STRIDE + head * params.VALUE + v + j] = sums[j];
  }
}
