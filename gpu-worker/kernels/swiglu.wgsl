// y[r, i] = silu(gate[r, i]) · up[r, i],  silu(g) = g / (1 + exp(−g))
//
//   x  f32 [rows, X_STRIDE], read: gate from GATE_OFFSET, up from UP_OFFSET, WIDTH values each
//   y  f32 [rows, Y_STRIDE], write
//
// One invocation: one value. Grid: x = WIDTH / 64, y = rows. Rounds: exp (exp.wgsl), sum, quotient, product.
struct Params {
  WIDTH: u32,
  X_STRIDE: u32,
  GATE_OFFSET: u32,
  UP_OFFSET: u32,
  Y_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * 64u + lane;
  if (i >= params.WIDTH) {
    return;
  }
  let base = group.y * params.X_STRIDE + i;
  y[group.y * params.Y_STRIDE + i] = swiglu(x[base + params.GATE_OFFSET], x[base + params.UP_OFFSET]);
}
