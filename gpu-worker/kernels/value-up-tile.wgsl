// y[r, h · VALUE + v] = Σ_c W_v[h, v, c] · mixed[r, h, c], a workgroup for TILE_ROWS values of one head and COLUMNS rows: the
// bits of value-up.wgsl.
//
//   mixed  f32 [ROWS_MAX, HEADS, MIXED_VECTORS] as vec4, read: LATENT values a head, then padding
//   kv_b   one window of kv_b_proj, row records, read: a head's NOPE rows W_k, then its VALUE rows W_v, of LATENT
//   y      f32 [ROWS_MAX, Y_STRIDE], write
//
// Rows past the step's last are computed from whatever lies there and read by nobody.
// Grid: x = heads of this window · VALUE / TILE_ROWS, y = rows / COLUMNS. Rounds as dot.wgsl.
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

@compute @workgroup_size(CHUNK_LANES * ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tiles = (params.VALUE + TILE_ROWS - 1u) / TILE_ROWS;
  let window_head = group.x / tiles;
  let head = params.HEAD_START + window_head;
  let first = (window_head * (params.NOPE + params.VALUE) + params.NOPE) * params.W_VECTORS;
  let v = group.x % tiles * TILE_ROWS;
  var x_bases: array<u32, COLUMNS>;
  for (var column = 0u; column < COLUMNS; column += 1u) {
    let row = min(COLUMNS * group.y + column, params.ROWS_MAX - 1u);
    x_bases[column] = (row * params.HEADS + head) * params.MIXED_VECTORS;
  }
  let sums = dot_tile(&kv_b, first, v, params.VALUE, &mixed, x_bases, params.K, lane);
  let row = COLUMNS * group.y + lane / ROW_LANES;
  if (lane / ROW_LANES >= COLUMNS || row >= params.ROWS_MAX) {
    return;
  }
  for (var i = 0u; i < ROWS_EACH; i += 1u) {
    let at = v + ROWS_EACH * (lane % ROW_LANES) + i;
    if (at < params.VALUE) {
      y[row * params.Y_STRIDE + head * params.VALUE + at] = sums[i];
    }
  }
}
