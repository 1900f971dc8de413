// Writes a pattern that the other probes can check: records of HEAD words of one value, then words of another; with
// RECORD = 0, word i is i & 7.
//
//   words  vec4<u32> [COUNT], write
//
// Grid: x = 65,536-word pieces, each invocation 64 vectors, a workgroup apart.
struct Params {
  COUNT: u32,
  RECORD: u32,
  HEAD: u32,
  FIRST: u32,
  SECOND: u32,
}

@group(0) @binding(0) var<storage, read_write> words: array<vec4<u32>>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  for (var i = 0u; i < 64u; i += 1u) {
    let at = (group.x * 64u + i) * 256u + lane;
    if (at >= params.COUNT) {
      return;
    }
    if (params.RECORD == 0u) {
      words[at] = (vec4<u32>(0u, 1u, 2u, 3u) + 4u * at) & vec4<u32>(7u);
    } else {
      words[at] = vec4<u32>(select(params.SECOND, params.FIRST, at % params.RECORD < params.HEAD));
    }
  }
}
