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

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row_cells = params.HEADS * params.LATENT_VECTORS;
  if (id.x >= row_cells) {
    return;
  }
  let merge = merges[params.FIRST_MERGE + id.y];
  let stride = params.LATENT_VECTORS + 1u;
  let column = id.x % params.LATENT_VECTORS;
  var base = (merge.y * params.HEADS + id.x / params.LATENT_VECTORS) * stride;
  var total = vec4<f32>(0.0);
  var total_sum = 0.0;
  var total_max = LOWEST;
  for (var split = 0u; split < merge.z; split += 1u) {
    let own = parts[base + params.LATENT_VECTORS].xy;
    let merged_max = max(total_max, own.y);
    let keep = exp_exact(total_max - merged_max);
    let take = exp_exact(own.y - merged_max);
    total = fma(total, vec4<f32>(keep), parts[base + column] * take);
    total_sum = fma(total_sum, keep, own.x * take);
    total_max = merged_max;
    base += params.HEADS * stride;
  }
  out[merge.x * row_cells + id.x] = total / total_sum;
}
