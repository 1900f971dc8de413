/** One row's cache entry in f64: the normed latent, then the turned rope key. */
export function latentWriteReference(
  latent: ArrayLike<number>,
  weight: ArrayLike<number>,
  eps: number,
  key: ArrayLike<number>,
  angles: readonly (readonly [cos: number, sin: number])[],
  isInterleaved: boolean,
): { readonly latent: Float64Array; readonly key: Float64Array } {
  let squares = 0
  for (let i = 0; i < latent.length; i++) squares += (latent[i] ?? 0) ** 2
  const root = Math.sqrt(squares / latent.length + eps)
  const turned = new Float64Array(key.length)
  angles.forEach(([cos, sin], pair) => {
    const [first, second] = isInterleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + key.length / 2]
    const a = key[first] ?? 0
    const b = key[second] ?? 0
    turned[first] = a * cos - b * sin
    turned[second] = b * cos + a * sin
  })
  return {
    latent: Float64Array.from({ length: latent.length }, (_, i) => ((weight[i] ?? 0) * (latent[i] ?? 0)) / root),
    key: turned,
  }
}
