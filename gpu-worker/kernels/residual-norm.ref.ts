/** One row: the sum as f32 (one addition has one right result), and its RMSNorm in f64. */
export function residualNormReference(
  x: Float32Array,
  delta: Float32Array,
  weight: ArrayLike<number>,
  eps: number,
): { readonly x: Float32Array; readonly y: Float64Array } {
  const sum = x.map((value, i) => value + (delta[i] ?? NaN))
  let squares = 0
  for (const value of sum) squares += value * value
  const root = Math.sqrt(squares / sum.length + eps)
  return { x: sum, y: Float64Array.from(sum, (value, i) => ((weight[i] ?? 0) * value) / root) }
}
