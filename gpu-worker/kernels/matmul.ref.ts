/** y[r, n] = Σ_k w[n, k] · x[r, k] in f64, dense arrays. */
export function matmulReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  rows: number,
  n: number,
  k: number,
): Float64Array {
  const y = new Float64Array(rows * n)
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < n; i++) {
      let sum = 0
      for (let j = 0; j < k; j++) sum += (w[i * k + j] ?? 0) * (x[r * k + j] ?? 0)
      y[r * n + i] = sum
    }
  }
  return y
}
