// A sampler's noise for a token: a hash of its seed, its index and the token, as a Gumbel variate. Needs sampler.wgsl, log.wgsl.

// 2^-32
const PER_HASH = 2.3283064e-10;

// −ln(−ln(1 − v)) for v uniform in (0, 1); small v, the likely winners, keep all 32 bits of the hash.
fn gumbel(sampler: Sampler, id: u32) -> f32 {
  let count = f32(hash(vec4<u32>(sampler.seed, sampler.index, id))) + 0.5;
  let v = count * PER_HASH;
  var e = fma(v * v, fma(v, 0.33333334, 0.5), v);
  if (v > 0.0009765625) {
    e = -log_exact(max(fma(-count, PER_HASH, 1.0), 5.9604645e-8));
  }
  return -log_exact(e);
}

// pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering" (2020); first word.
fn hash(input: vec4<u32>) -> u32 {
  var v = input * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4<u32>(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v.x;
}
