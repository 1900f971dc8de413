/** silu(gate · x) · (up · x) of one expert and one row, in f64; gate and up [width, hidden]. */
export function expertGateUpReference(
  x: ArrayLike<number>,
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
): Float64Array {
  const hidden = x.length
  return Float64Array.from({ length: gate.length / hidden }, (_, i) => {
    let g = 0
    let u = 0
    for (let k = 0; k < hidden; k++) {
      g += (gate[i * hidden + k] ?? 0) * (x[k] ?? 0)
      u += (up[i * hidden + k] ?? 0) * (x[k] ?? 0)
    }
    return (g / (1 + Math.exp(-g))) * u
  })
}
