// y[r, h · VALUE + v] = Σ_c W_v[h, v, c] · mixed[r, h, c], a workgroup for 32 values of one head and ROWS_EACH rows: the
// bits of value-up.wgsl.
//
//   mixed  f32 [ROWS_MAX, HEADS, MIXED_VECTORS] as vec4, read: LATENT values a head, then padding
//   kv_b   one window of kv_b_proj, row records, read: a head's NOPE rows W_k, then its VALUE rows W_v, of LATENT
//   y      f32 [ROWS_MAX, Y_STRIDE], write
//
// Rows past the step's last are computed from whatever lies there and read by nobody.
// Grid: x = heads of this window · VALUE / 32, y = rows / ROWS_EACH. Rounds as dot.wgsl.

// At most COLUMNS.
override ROWS_EACH: u32;

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

// Where the weights of the head's first of these values begin, that value, and where the first row's activations begin.
struct Panel {
  base: u32,
  v: u32,
  values: u32,
}

fn panel_piece(panel: Panel, row_lane: u32, i: u32, piece: u32) -> Piece {
  let v = min(panel.v + 4u * row_lane + i, params.VALUE - 1u);
  return piece_at(&kv_b, panel.base + v * params.W_VECTORS, piece);
}

fn panel_quad(panel: Panel, column: u32, quad: u32) -> vec4<f32> {
  return mixed[panel.values + column * params.HEADS * params.MIXED_VECTORS + quad];
}

@compute @workgroup_size(PANEL_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let panels = (params.VALUE + PANEL_ROWS - 1u) / PANEL_ROWS;
  let window_head = group.x / panels;
  let head = params.HEAD_START + window_head;
  let row = ROWS_EACH * group.y;
  let panel = Panel(
    (window_head * (params.NOPE + params.VALUE) + params.NOPE) * params.W_VECTORS,
    group.x % panels * PANEL_ROWS,
    (row * params.HEADS + head) * params.MIXED_VECTORS,
  );
  let count = min(ROWS_EACH, params.ROWS_MAX - row);
  dot_panel(panel, count, params.K, lane);
  for (var at = lane; at < PANEL_ROWS * count; at += PANEL_LANES) {
    let v = panel.v + at % PANEL_ROWS;
    if (v < params.VALUE) {
      y[(row + at / PANEL_ROWS) * params.Y_STRIDE + head * params.VALUE + v] = totals[at];
    }
  }
}
