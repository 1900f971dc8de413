/** RMSNorm in f64 of the picked rows of x; dense arrays [.., width]. */
import { rmsNormReference } from './rms-norm.ref.ts'

export function outputNormReference(
  picked: readonly number[],
  x: Float32Array,
  weight: ArrayLike<number>,
  eps: number,
): Float64Array {
  const width = weight.length
  const y = new Float64Array(picked.length * width)
  picked.forEach((row, i) => {
    y.set(rmsNormReference(x.subarray(row * width, (row + 1) * width), weight, eps), i * width)
  })
  return y
}
