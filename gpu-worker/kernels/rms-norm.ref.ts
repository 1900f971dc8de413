/** weight · x / sqrt(mean(x²) + eps) of one row, in f64. */
export function rmsNormReference(x: ArrayLike<number>, weight: ArrayLike<number>, eps: number): Float64Array {
  let squares = 0
  for (let i = 0; i < x.length; i++) squares += (x[i] ?? 0) ** 2
  const root = Math.sqrt(squares / x.length + eps)
  return Float64Array.from({ length: x.length }, (_, i) => ((weight[i] ?? 0) * (x[i] ?? 0)) / root)
}
