/** Rows of a dense table [.., width] by token id. */
export function embedReference(tokenIds: readonly number[], table: Float32Array, width: number): Float32Array {
  const x = new Float32Array(tokenIds.length * width)
  tokenIds.forEach((id, row) => {
    for (let i = 0; i < width; i++) x[row * width + i] = table[id * width + i] ?? NaN
  })
  return x
}
