// How fast memory is read four words at a time: sums all words, each once.
//
//   words  vec4<u32> [COUNT], read
//   sums   u32 [workgroups, 256], write: one an invocation
//
// Grid: x = 65,536-word pieces, each invocation 64 vectors, a workgroup apart. Sums wrap around.
struct Params {
  COUNT: u32,
}

@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = vec4<u32>();
  let start = group.x * 64u * 256u + lane;
  for (var i = 0u; i < 64u; i += 4u) {
    let at = start + i * 256u;
    if (at < params.COUNT) {
      sum += (words[at] + words[at + 256u]) + (words[at + 512u] + words[at + 768u]);
    }
  }
  sums[group.x * 256u + lane] = sum.x + sum.y + sum.z + sum.w;
}
