/** One bf16 at a time: the upper half of an f32. Whole chunks are `model/widened.ts`'s. */

const oneFloat = new Float32Array(1)
const oneWord = new Uint32Array(oneFloat.buffer)

/** The bits of the nearest bf16, ties to even, of a finite value. */
export function bf16Bits(value: number): number {
  oneFloat[0] = value
  const bits = oneWord[0] ?? 0
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** The value that bf16 bits stand for. */
export function bf16Value(bits: number): number {
  oneWord[0] = bits << 16
  return oneFloat[0] ?? 0
}
