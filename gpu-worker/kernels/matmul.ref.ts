/** y[n] = Σ_k w[n, k] · x[k] of one row, in f64. */
export function matmulReference(x: ArrayLike<number>, w: ArrayLike<number>): Float64Array {
  const k = x.length
  return Float64Array.from({ length: w.length / k }, (_, n) => {
    let sum = 0
    for (let j = 0; j < k; j++) sum += (w[n * k + j] ?? 0) * (x[j] ?? 0)
    return sum
  })
}
