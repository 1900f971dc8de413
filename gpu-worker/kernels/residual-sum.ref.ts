/** x + delta as f32: one addition has one right result. */
export function residualSumReference(x: Float32Array, delta: Float32Array): Float32Array {
  return x.map((value, i) => value + (delta[i] ?? NaN))
}
