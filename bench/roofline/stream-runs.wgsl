// How fast memory is read when each lane reads a run of its own, as CPUs like it: sums all words, each once.
//
//   words  vec4<u32> [COUNT], read; COUNT is a multiple of 64
//   sums   u32 [workgroups, 256], write: one an invocation
//
// Grid: x = 65,536-word pieces, each invocation 64 vectors one after the other. Sums wrap around.
struct Params {
  COUNT: u32,
}

@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = vec4<u32>();
  let start = (group.x * 256u + lane) * 64u;
  if (start < params.COUNT) {
    for (var at = start; at < start + 64u; at += 4u) {
      sum += (words[at] + words[at + 1u]) + (words[at + 2u] + words[at + 3u]);
    }
  }
  sums[group.x * 256u + lane] = sum.x + sum.y + sum.z + sum.w;
}
