/** Softmax over all splits from what each left alone, in f64: Σ out · e^(max − highest) / Σ sum · e^(max − highest). */
export function latentMergeReference(
  splits: readonly { readonly out: ArrayLike<number>; readonly sum: number; readonly max: number }[],
): Float64Array {
  const highest = Math.max(...splits.map(({ max }) => max))
  const total = splits.reduce((sum, split) => sum + split.sum * Math.exp(split.max - highest), 0)
  return Float64Array.from({ length: splits[0]?.out.length ?? 0 }, (_, c) =>
    splits.reduce((sum, { out, max }) => sum + ((out[c] ?? 0) * Math.exp(max - highest)) / total, 0),
  )
}
