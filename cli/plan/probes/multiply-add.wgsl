// How fast f32 arithmetic is: independent chains of fma, y = y · 1 + 2⁻¹⁰, exact as long as y < 2¹⁴.
//
//   factors  f32 [2]: 1 and 2⁻¹⁰, read, so that no compiler knows them
//   y        f32 [workgroups, 256], write: the sum of an invocation's 16 chains, all equal
//
// Four links of every chain a loop, so that counting loops costs little. Grid: x = workgroups.
// Operations: 2 · 16 · 4 · LOOPS an invocation.
struct Params {
  LOOPS: u32,
}

@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let scale = vec4<f32>(factors[0]);
  let step = vec4<f32>(factors[1]);
  var a = vec4<f32>();
  var b = vec4<f32>();
  var c = vec4<f32>();
  var d = vec4<f32>();
  for (var i = 0u; i < params.LOOPS; i += 1u) {
    a = fma(a, scale, step);
    b = fma(b, scale, step);
    c = fma(c, scale, step);
    d = fma(d, scale, step);
    a = fma(a, scale, step);
    b = fma(b, scale, step);
    c = fma(c, scale, step);
    d = fma(d, scale, step);
    a = fma(a, scale, step);
    b = fma(b, scale, step);
    c = fma(c, scale, step);
    d = fma(d, scale, step);
    a = fma(a, scale, step);
    b = fma(b, scale, step);
    c = fma(c, scale, step);
    d = fma(d, scale, step);
  }
  let sum = (a + b) + (c + d);
  y[group.x * 256u + lane] = (sum.x + sum.y) + (sum.z + sum.w);
}
