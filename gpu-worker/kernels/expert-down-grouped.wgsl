// y[pair, n] = Σ_i down[e, n, i] · h[pair, i],  e the expert of the pair
//
// Bindings: include/expert-down-groups.wgsl.
//
// One workgroup: 32 values of up to eight pairs of one expert, whose weights it reads once; an expert in another bank is
// left to that bank's dispatch. Grid: x = WIDTH / 32, y = items. The bits of expert-down.wgsl.

// The expert's first row, the first of its rows here, and where the pairs stand in `groups`.
struct Panel {
  base: u32,
  n: u32,
  first: u32,
}

fn panel_piece(panel: Panel, row_lane: u32, i: u32, piece: u32) -> Piece {
  let n = min(panel.n + 4u * row_lane + i, params.WIDTH - 1u);
  return piece_at(&down, (panel.base + n) * params.W_VECTORS, piece);
}

fn panel_quad(panel: Panel, column: u32, quad: u32) -> vec4<f32> {
  return h[groups[panel.first + column] * params.H_VECTORS + quad];
}

@compute @workgroup_size(PANEL_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = 4u * group.y;
  let count = groups[item + 2u];
  if (count == 0u) {
    return;
  }
  let place = places[groups[item]];
  if (place.x != params.BANK) {
    return;
  }
  let panel = Panel(place.y * params.WIDTH, PANEL_ROWS * group.x, params.PAIRS_AT + groups[item + 1u]);
  dot_panel(panel, count, params.K, lane);
  for (var at = lane; at < PANEL_ROWS * count; at += PANEL_LANES) {
    let n = panel.n + at % PANEL_ROWS;
    if (n < params.WIDTH) {
      y[groups[panel.first + at / PANEL_ROWS] * params.Y_STRIDE + n] = totals[at];
    }
  }
}
