// Four weights of each of four weight rows.
struct Quads {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

// Four fma steps of four dot products side by side: sum + x · (a, b, c, d), k ascending.
fn dot_quads(
  x: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: vec4<f32>,
) -> vec4<f32> {
  var part = sum;
  part = fma(vec4<f32>(x.x), vec4<f32>(a.x, b.x, c.x, d.x), part);
  part = fma(vec4<f32>(x.y), vec4<f32>(a.y, b.y, c.y, d.y), part);
  part = fma(vec4<f32>(x.z), vec4<f32>(a.z, b.z, c.z, d.z), part);
  part = fma(vec4<f32>(x.w), vec4<f32>(a.w, b.w, c.w, d.w), part);
  return part;
}
