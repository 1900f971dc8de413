// y[r, n] = Σ_k w[n, k] · x[r, k], a workgroup for 32 weight rows and ROWS_EACH activation rows: matmul.wgsl's bits.
//
// Bindings: include/matmul.wgsl.
//
// Rows past the step's last are computed from whatever lies there and read by nobody.
// Grid: x = weight rows / 32, y = activation rows / ROWS_EACH. Rounds as dot.wgsl.

// At most COLUMNS.
override ROWS_EACH: u32;

// The first of its weight rows and of its activation rows.
struct Panel {
  n: u32,
  row: u32,
}

fn panel_piece(panel: Panel, row_lane: u32, i: u32, piece: u32) -> Piece {
  let n = min(panel.n + 4u * row_lane + i, params.ROWS_IN_WINDOW - 1u);
  return piece_at(&weights, n * params.W_VECTORS, piece);
}

fn panel_quad(panel: Panel, column: u32, quad: u32) -> vec4<f32> {
  return x[min(panel.row + column, params.ROWS_MAX - 1u) * params.X_VECTORS + quad];
}

@compute @workgroup_size(PANEL_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let panel = Panel(PANEL_ROWS * group.x, ROWS_EACH * group.y);
  dot_panel(panel, ROWS_EACH, params.K, lane);
  for (var at = lane; at < PANEL_ROWS * ROWS_EACH; at += PANEL_LANES) {
    let n = panel.n + at % PANEL_ROWS;
    let row = panel.row + at / PANEL_ROWS;
    if (n < params.ROWS_IN_WINDOW && row < params.ROWS_MAX) {
      y[row * params.Y_STRIDE + params.Y_OFFSET + n] = totals[at];
    }
  }
}
