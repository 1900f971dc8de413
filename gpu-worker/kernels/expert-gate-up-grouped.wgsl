// h[pair, i] = silu(Σ_k gate[e, i, k] · x[r, k]) · Σ_k up[e, i, k] · x[r, k],  e the expert of the pair, r its row
//
// Bindings: include/expert-gate-up-groups.wgsl.
//
// One workgroup: 16 values of up to eight pairs of one expert, whose weights it reads once; an expert in another bank is
// left to that bank's dispatch. Grid: x = WIDTH / 16, y = items. The bits of expert-gate-up.wgsl.

// The expert's first row, the first of its rows here, and where the pairs stand in `groups`.
struct Panel {
  base: u32,
  n: u32,
  first: u32,
}

// Of a lane's four rows two are gate's, two the same of up.
fn panel_piece(panel: Panel, row_lane: u32, i: u32, piece: u32) -> Piece {
  let base = (panel.base + min(panel.n + 2u * row_lane + i % 2u, params.WIDTH - 1u)) * params.W_VECTORS;
  if (i < 2u) {
    return piece_at(&gate, base, piece);
  }
  return piece_at(&up, base, piece);
}

fn panel_quad(panel: Panel, column: u32, quad: u32) -> vec4<f32> {
  return x[groups[panel.first + column] / params.TOP * params.X_VECTORS + quad];
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
  let values = PANEL_ROWS / 2u;
  let panel = Panel(place.y * params.WIDTH, values * group.x, params.PAIRS_AT + groups[item + 1u]);
  dot_panel(panel, count, params.K, lane);
  for (var at = lane; at < values * count; at += PANEL_LANES) {
    let column = at / values;
    let i = at % values;
    if (panel.n + i < params.WIDTH) {
      let gate_at = PANEL_ROWS * column + 4u * (i / 2u) + i % 2u;
      h[groups[panel.first + column] * params.H_STRIDE + panel.n + i] = swiglu(totals[gate_at], totals[gate_at + 2u]);
    }
  }
}
