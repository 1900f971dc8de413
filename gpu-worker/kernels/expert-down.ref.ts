/** down · h of one expert and one pair, in f64; down [hidden, width]. */
export function expertDownReference(h: ArrayLike<number>, down: ArrayLike<number>): Float64Array {
  const width = h.length
  return Float64Array.from({ length: down.length / width }, (_, n) => {
    let sum = 0
    for (let i = 0; i < width; i++) sum += (down[n * width + i] ?? 0) * (h[i] ?? 0)
    return sum
  })
}
