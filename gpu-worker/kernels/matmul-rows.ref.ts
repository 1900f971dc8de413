/** y[r, n] = Σ_k w[n, k] · x[r, k] in f64, and Σ |w · x|, which bounds its rounding; dense arrays. */
export function matmulRowsReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  k: number,
): { readonly y: Float64Array; readonly size: Float64Array } {
  const rows = x.length / k
  const n = w.length / k
  const y = new Float64Array(rows * n)
  const size = new Float64Array(rows * n)
  for (let at = 0; at < rows * n; at++) {
    const row = Math.floor(at / n)
    for (let j = 0; j < k; j++) {
      const product = (w[(at % n) * k + j] ?? 0) * (x[row * k + j] ?? 0)
      y[at] = (y[at] ?? 0) + product
      size[at] = (size[at] ?? 0) + Math.abs(product)
    }
  }
  return { y, size }
}
