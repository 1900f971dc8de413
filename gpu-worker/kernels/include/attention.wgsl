// What latent attention computes, whoever computes it. Needs `tables` and ENTRY_VECTORS of its kernel.
//
// The order contract, equal for every row, prefill or decode:
//   tile   64 keys from a multiple of 64: scores (fma chains in chunks of 256), their maximum, weights exp(s − max so
//          far), Σ weights and Σ weights · entry by ascending keys from 0; then (sum, out) of the split are rescaled
//   split  512 keys from a multiple of 512, started afresh; merged into the total in ascending order, here or by
//          latent-merge.wgsl

const TILE = 64u;
const TILES_PER_SPLIT = 8u;
const WHOLE = 0xffffffffu;
const LOWEST = -3.4028234e38;
// Of a split and a quad of heads between the stages: a vec4 a key, then the maximum of each 32.
const SCORES_EACH = TILE * TILES_PER_SPLIT + 2u * TILES_PER_SPLIT;

// First quad of the cache entry at `position`.
fn entry_of(table: u32, position: u32) -> u32 {
  return (tables[table + position / 32u] * 32u + position % 32u) * params.ENTRY_VECTORS;
}
