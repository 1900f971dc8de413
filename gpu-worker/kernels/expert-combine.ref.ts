/** Σ weight · y + shared (zeros where there is none) of one row in f64, then RMSNorm when there is a norm. */
export function expertCombineReference(
  weights: ArrayLike<number>,
  y: readonly ArrayLike<number>[],
  shared: ArrayLike<number>,
  norm: ArrayLike<number> | null,
  eps: number,
): Float64Array {
  const sum = Float64Array.from({ length: shared.length }, (_, i) =>
    y.reduce((total, row, rank) => total + (weights[rank] ?? 0) * (row[i] ?? 0), shared[i] ?? 0),
  )
  if (norm === null) return sum
  const mean = sum.reduce((total, value) => total + value * value, 0) / sum.length
  return sum.map((value, i) => ((norm[i] ?? 0) * value) / Math.sqrt(mean + eps))
}
