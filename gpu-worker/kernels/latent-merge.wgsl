// Merges the splits that latent-attention.wgsl left, in ascending order, with the arithmetic of its whole rows:
//
//   max' = max(max, split max);  (sum, out) = fma((sum, out), exp(max − max'), split's · exp(split max − max'))
//
//   merges   vec4<u32> (row, first slot, splits, 0), read: from FIRST_MERGE on
//   parts    vec4<f32> [slots, HEADS, LATENT padded to 4, then (sum, max, 0, 0)], read
//   out      f32 [rows, HEADS, LATENT padded to 4] as vec4, write
//
// One lane: one vec4 of the output. Grid: x = cells / 64, y = merged rows.
const LOWEST = -3.4028234e38;

struct Params {
  HEADS: u32,
  LATENT_VECTORS: u32,
  FIRST_MERGE: u32,
}

@group(0) @binding(0) var<storage, read> merges: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

// What a split left: its (sum, max), and a vec4 of its mix.
struct Part {
  own: vec2<f32>,
  mix: vec4<f32>,
}

// Of the splits so far.
struct Total {
  mix: vec4<f32>,
  sum: f32,
  max: f32,
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row_cells = params.HEADS * params.LATENT_VECTORS;
  if (id.x >= row_cells) {
    return;
  }
  let merge = merges[params.FIRST_MERGE + id.y];
  let head = id.x / params.LATENT_VECTORS;
  let column = id.x % params.LATENT_VECTORS;
  var total = Total(vec4<f32>(0.0), 0.0, LOWEST);
  // Four parts under way at a time.
  for (var split = 0u; split < merge.z; split += 4u) {
    let left = merge.z - split;
    let first = merge.y + split;
    let a = part_at(first, head, column);
    var b = a;
    var c = a;
    var d = a;
    if (left > 1u) {
      b = part_at(first + 1u, head, column);
    }
    if (left > 2u) {
      c = part_at(first + 2u, head, column);
    }
    if (left > 3u) {
      d = part_at(first + 3u, head, column);
    }
    total = merged(total, a);
    if (left > 1u) {
      total = merged(total, b);
    }
    if (left > 2u) {
      total = merged(total, c);
    }
    if (left > 3u) {
      total = merged(total, d);
    }
  }
  out[merge.x * row_cells + id.x] = total.mix / total.sum;
}

fn part_at(slot: u32, head: u32, column: u32) -> Part {
  let base = (slot * params.HEADS + head) * (params.LATENT_VECTORS + 1u);
  return Part(parts[base + params.LATENT_VECTORS].xy, parts[base + column]);
}

fn merged(total: Total, part: Part) -> Total {
  let merged_max = max(total.max, part.own.y);
  let keep = exp_exact(total.max - merged_max);
  let take = exp_exact(part.own.y - merged_max);
  return Total(
    fma(total.mix, vec4<f32>(keep), part.mix * take),
    fma(total.sum, keep, part.own.x * take),
    merged_max,
  );
}
