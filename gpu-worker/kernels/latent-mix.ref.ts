/** What softmax makes of the scores of entries [keys, width], in f64, before it is divided: Σ weight · entry of `latent` values. */
export function latentMixReference(
  scores: ArrayLike<number>,
  entries: readonly ArrayLike<number>[],
  latent: number,
): { readonly mix: Float64Array; readonly sum: number; readonly highest: number } {
  const highest = Math.max(...Array.from(scores))
  const mix = new Float64Array(latent)
  let sum = 0
  entries.forEach((entry, j) => {
    const weight = Math.exp((scores[j] ?? 0) - highest)
    sum += weight
    for (let c = 0; c < latent; c++) mix[c] = (mix[c] ?? 0) + weight * (entry[c] ?? 0)
  })
  return { mix, sum, highest }
}
