/** One head's value in f64: W_v · mixed, W_v [value, latent]. */
export function valueUpReference(mixed: ArrayLike<number>, wv: ArrayLike<number>): Float64Array {
  const latent = mixed.length
  return Float64Array.from({ length: wv.length / latent }, (_, v) => {
    let sum = 0
    for (let c = 0; c < latent; c++) sum += (wv[v * latent + c] ?? 0) * (mixed[c] ?? 0)
    return sum
  })
}
