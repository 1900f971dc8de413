/** Σ weight · y of one row in f64, RMSNorm when there is a norm, plus x; then the RMSNorm of that when one follows. */
import { rmsNormReference } from './rms-norm.ref.ts'

export function expertCombineReference(
  weights: ArrayLike<number>,
  y: readonly ArrayLike<number>[],
  norm: ArrayLike<number> | null,
  x: ArrayLike<number>,
  next: ArrayLike<number> | null,
  eps: number,
): { readonly x: Float64Array; readonly normed: Float64Array | null } {
  const mixed = Float64Array.from({ length: x.length }, (_, i) =>
    y.reduce((total, row, rank) => total + (weights[rank] ?? 0) * (row[i] ?? 0), 0),
  )
  const delta = norm === null ? mixed : rmsNormReference(mixed, norm, eps)
  const sum = delta.map((value, i) => value + (x[i] ?? NaN))
  return { x: sum, normed: next === null ? null : rmsNormReference(sum, next, eps) }
}
