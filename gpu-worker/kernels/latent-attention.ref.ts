/** Softmax attention of one query over entries [keys, width], in f64; the output mixes the first `latent` values. */
export function latentAttentionReference(
  query: ArrayLike<number>,
  entries: readonly ArrayLike<number>[],
  latent: number,
  scale: number,
): Float64Array {
  const scores = entries.map((entry) => {
    let score = 0
    for (let i = 0; i < query.length; i++) score += (query[i] ?? 0) * (entry[i] ?? 0)
    return score * scale
  })
  const highest = Math.max(...scores)
  const weights = scores.map((score) => Math.exp(score - highest))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  const out = new Float64Array(latent)
  entries.forEach((entry, j) => {
    for (let c = 0; c < latent; c++) out[c] = (out[c] ?? 0) + ((weights[j] ?? 0) / sum) * (entry[c] ?? 0)
  })
  return out
}
