// ln x in f32 for normal x > 0, the same bits on every adapter (Cephes' logf).
//
//   x = 2^e · m,  m in [√½, √2);  ln x = ln m + e·ln 2,  ln m by a polynomial in m − 1
//
// Absolute error ≤ 2e-7 + 1e-7 · |ln x|.

fn log_exact(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var e = f32(i32(bits >> 23u) - 126);
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.70710678) {
    e -= 1.0;
    m += m;
  }
  let r = m - 1.0;
  let z = r * r;
  var p = 7.0376836292e-2;
  p = fma(p, r, -1.1514610310e-1);
  p = fma(p, r, 1.1676998740e-1);
  p = fma(p, r, -1.2420140846e-1);
  p = fma(p, r, 1.4249322787e-1);
  p = fma(p, r, -1.6668057665e-1);
  p = fma(p, r, 2.0000714765e-1);
  p = fma(p, r, -2.4999993993e-1);
  p = fma(p, r, 3.3333331174e-1);
  var y = p * r * z;
  y = fma(e, -2.12194440e-4, y);
  y = fma(z, -0.5, y);
  return fma(e, 0.693359375, r + y);
}
