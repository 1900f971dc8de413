// exp and its relatives in f32, the same bits on every adapter: WGSL's own exp may be off by many ulp.
//
//   exp(x) = 2^n · e^r,  n = round(x / ln 2),  r = x − n·ln 2 in two parts,  e^r by Cephes' expf polynomial
//
// Relative error ≤ 2e-7 for x in [−87, 88]; 0 below, exp(88) above; NaN stays NaN; exp(0) is exactly 1.

fn exp_exact(x: f32) -> f32 {
  if (is_nan(x)) {
    return x;
  }
  if (x < -87.0) {
    return 0.0;
  }
  let y = min(x, 88.0);
  let n = floor(fma(y, 1.44269504, 0.5));
  let r = fma(n, 2.12194440e-4, fma(n, -0.693359375, y));
  var p = 1.9875691500e-4;
  p = fma(p, r, 1.3981999507e-3);
  p = fma(p, r, 8.3334519073e-3);
  p = fma(p, r, 4.1665795894e-2);
  p = fma(p, r, 1.6666665459e-1);
  p = fma(p, r, 5.0000001201e-1);
  let e = fma(p, r * r, r) + 1.0;
  return e * bitcast<f32>((i32(n) + 127) << 23u);
}

// `exp_exact` of each component, by the same steps.
fn exp_each(x: vec4<f32>) -> vec4<f32> {
  let y = min(x, vec4<f32>(88.0));
  let n = floor(fma(y, vec4<f32>(1.44269504), vec4<f32>(0.5)));
  let r = fma(n, vec4<f32>(2.12194440e-4), fma(n, vec4<f32>(-0.693359375), y));
  var p = vec4<f32>(1.9875691500e-4);
  p = fma(p, r, vec4<f32>(1.3981999507e-3));
  p = fma(p, r, vec4<f32>(8.3334519073e-3));
  p = fma(p, r, vec4<f32>(4.1665795894e-2));
  p = fma(p, r, vec4<f32>(1.6666665459e-1));
  p = fma(p, r, vec4<f32>(5.0000001201e-1));
  let e = fma(p, r * r, r) + 1.0;
  let power = e * bitcast<vec4<f32>>((vec4<i32>(n) + 127) << vec4<u32>(23u));
  let is_nan_each = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(select(power, vec4<f32>(0.0), x < vec4<f32>(-87.0)), x, is_nan_each);
}

fn sigmoid(x: f32) -> f32 {
  return select(1.0 / (1.0 + exp_exact(-x)), x, is_nan(x));
}

// SwiGLU: silu(gate) · up.
fn swiglu(gate: f32, up: f32) -> f32 {
  return gate / (1.0 + exp_exact(-gate)) * up;
}

// By bits: a compiler may assume that x != x is false.
fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
