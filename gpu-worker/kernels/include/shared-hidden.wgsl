// Where a shared expert lies apart, rows of `logits` begin with its SHARED gate and as many up values: silu(gate) · up, in
// the gates' place. Rounds as swiglu.wgsl. Works on bindings and parameters of route.wgsl.
override SHARED_TILE: u32;

// Values from tile · SHARED_TILE on, by all lanes of a workgroup.
fn shared_hidden(row: u32, tile: u32, lane: u32) {
  let start = row * params.X_STRIDE;
  for (var i = tile * SHARED_TILE + lane; i < min((tile + 1u) * SHARED_TILE, params.SHARED); i += LANES) {
    logits[start + i] = swiglu(logits[start + i], logits[start + params.SHARED + i]);
  }
}
