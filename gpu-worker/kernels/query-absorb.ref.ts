/**
 * One head's query in latent space, in f64: q_nope · W_k, W_k [nope, latent]; and its rope part, turned.
 */
export function queryAbsorbReference(
  nope: ArrayLike<number>,
  wk: ArrayLike<number>,
  latent: number,
  rope: ArrayLike<number>,
  angles: readonly (readonly [cos: number, sin: number])[],
  isInterleaved: boolean,
): { readonly latent: Float64Array; readonly rope: Float64Array } {
  const absorbed = new Float64Array(latent)
  for (let c = 0; c < latent; c++) {
    let sum = 0
    for (let d = 0; d < nope.length; d++) sum += (nope[d] ?? 0) * (wk[d * latent + c] ?? 0)
    absorbed[c] = sum
  }
  const half = rope.length / 2
  const turned = Float64Array.from({ length: rope.length }, (_, i) => {
    const pair = isInterleaved ? Math.floor(i / 2) : i % half
    const [cos, sin] = angles[pair] ?? [1, 0]
    const a = rope[isInterleaved ? 2 * pair : pair] ?? 0
    const b = rope[isInterleaved ? 2 * pair + 1 : pair + half] ?? 0
    const isFirst = isInterleaved ? i % 2 === 0 : i < half
    return isFirst ? a * cos - b * sin : b * cos + a * sin
  })
  return { latent: absorbed, rope: turned }
}
