// y[r, n] = Σ_k w[n, k] · x[r, k], bf16, as one first writes it: a lane owns a row of the matrix and reads it word by word.
//
//   x        f32 [rows, K], read
//   weights  bf16 [N, K], read
//   y        f32 [rows, N], write
//
// Grid: x = N / 64, y = rows. Sums K in one chain: not the bits of the order contract.
struct Params {
  K: u32,
  N: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.N) {
    return;
  }
  let words = params.K / 2u;
  var sum = 0.0;
  for (var i = 0u; i < words; i += 1u) {
    let pair = weights[id.x * words + i];
    sum = fma(bitcast<f32>(pair << 16u), x[id.y * params.K + 2u * i], sum);
    sum = fma(bitcast<f32>(pair & 0xffff0000u), x[id.y * params.K + 2u * i + 1u], sum);
  }
  y[id.y * params.N + id.x] = sum;
}
