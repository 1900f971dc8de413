/** silu(gate) · up in f64. */
export function swigluReference(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: gate.length }, (_, i) => {
    const g = gate[i] ?? 0
    return (g / (1 + Math.exp(-g))) * (up[i] ?? 0)
  })
}
