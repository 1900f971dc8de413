/** Log probabilities of all tokens in f64, and the ids in order of likelihood, the lower first among equals. */
export function logProbsReference(logits: ArrayLike<number>): {
  readonly logProbs: readonly number[]
  readonly ranked: readonly number[]
} {
  const all = Array.from(logits)
  const highest = all.reduce((max, logit) => Math.max(max, logit), -Infinity)
  const logSum = Math.log(all.reduce((sum, logit) => sum + Math.exp(logit - highest), 0))
  const ranked = all.map((_, id) => id).toSorted((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || a - b)
  return { logProbs: all.map((logit) => logit - highest - logSum), ranked }
}
