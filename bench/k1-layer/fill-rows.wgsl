// Row records of a tensor that is a counter hash: counter-hash.ts says what a word is.
//
//   rows  u32 as vec4 [ROW_VECTORS a row], write: ROW_COUNT records from TARGET on
//
//   record:  | VALUE_BYTES of values, zeros to | SCALE_VECTOR: SCALE_BYTES of scales, zeros to the end |
//
// One invocation: four words of one row. Grid: x = ROW_VECTORS / 64, y = rows. No floats, so nothing rounds.
struct Params {
  ROW_START: u32,
  ROW_VECTORS: u32,
  ROWS_PER_SCALE: u32,
  TARGET: u32,
  VALUE_SEED: u32,
  VALUE_MASK: u32,
  VALUE_BITS: u32,
  VALUE_BYTES: u32,
  SCALE_SEED: u32,
  SCALE_MASK: u32,
  SCALE_BITS: u32,
  SCALE_BYTES: u32,
  SCALE_VECTOR: u32,
}

@group(0) @binding(0) var<storage, read_write> rows: array<vec4<u32>>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let vector = group.x * 64u + lane;
  if (vector >= params.ROW_VECTORS) {
    return;
  }
  let row = params.ROW_START + group.y;
  var words: vec4<u32>;
  if (vector < params.SCALE_VECTOR) {
    let pattern = vec2<u32>(params.VALUE_MASK, params.VALUE_BITS);
    words = hashed_words(params.VALUE_SEED + row * 0x9e3779b9u, vector, pattern, params.VALUE_BYTES);
  } else {
    let pattern = vec2<u32>(params.SCALE_MASK, params.SCALE_BITS);
    let seed = params.SCALE_SEED + row / params.ROWS_PER_SCALE * 0x9e3779b9u;
    words = hashed_words(seed, vector - params.SCALE_VECTOR, pattern, params.SCALE_BYTES);
  }
  rows[params.TARGET + group.y * params.ROW_VECTORS + vector] = words;
}

// Words 4 · vector … of a part of `bytes` bytes; zeros behind its end.
fn hashed_words(seed: u32, vector: u32, pattern: vec2<u32>, bytes: u32) -> vec4<u32> {
  let index = vec4<u32>(4u * vector) + vec4<u32>(0u, 1u, 2u, 3u);
  let row_seed = mix4(vec4<u32>(seed));
  let words = (mix4(row_seed + index * 0x85ebca6bu) & vec4<u32>(pattern.x)) | vec4<u32>(pattern.y);
  let end = vec4<u32>(bytes);
  let left = end - min(end, 4u * index);
  let part = (vec4<u32>(1u) << (8u * min(left, vec4<u32>(3u)))) - vec4<u32>(1u);
  return words & select(part, vec4<u32>(0xffffffffu), left >= vec4<u32>(4u));
}

fn mix4(seed: vec4<u32>) -> vec4<u32> {
  var x = (seed ^ (seed >> vec4<u32>(16u))) * 0x7feb352du;
  x = (x ^ (x >> vec4<u32>(15u))) * 0x846ca68bu;
  return x ^ (x >> vec4<u32>(16u));
}
