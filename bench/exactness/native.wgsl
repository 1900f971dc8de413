// WGSL's own functions, whose bits are the adapter's: each stands in for the function of its name.

fn exp_exact(x: f32) -> f32 {
  return exp(x);
}

fn exp_each(x: vec4<f32>) -> vec4<f32> {
  return exp(x);
}
