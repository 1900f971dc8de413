/** RMSNorm in f64 of the picked rows of x + delta (an f32 sum); dense arrays [.., width]. */
export function outputNormReference(
  picked: readonly number[],
  x: Float32Array,
  delta: Float32Array,
  weight: ArrayLike<number>,
  eps: number,
): Float64Array {
  const width = weight.length
  const rows = picked.map((row) => {
    const sum = Array.from({ length: width }, (_, i) => {
      return Math.fround((x[row * width + i] ?? NaN) + (delta[row * width + i] ?? NaN))
    })
    const mean = sum.reduce((total, value) => total + value * value, 0) / width
    return sum.map((value, i) => ((weight[i] ?? 0) * value) / Math.sqrt(mean + eps))
  })
  return Float64Array.from(rows.flat())
}
