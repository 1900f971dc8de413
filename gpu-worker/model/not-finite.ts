/**
 * Counts NaN and infinite values among stored numbers, a word at a time: cheap enough to look at every weight loaded.
 *
 * Knows no tensor; who reads one adds up.
 */
import type { PlainFormat } from '../kernels/matrix.ts'

export type FloatFormat = PlainFormat | 'fp8'

/**
 * A value is not finite when all bits of its exponent are set (in e4m3fn: all but the sign). Adding one to the field then
 * carries into the sign's place, and into no neighbour: two or four values of a word are tested by one addition.
 */
interface Field {
  readonly mask: number
  readonly one: number
  readonly carry: number
}

const FIELDS: Readonly<Record<FloatFormat, Field>> = {
  f32: { mask: 0x7f800000, one: 0x00800000, carry: 0x80000000 },
  bf16: { mask: 0x7f807f80, one: 0x00800080, carry: 0x80008000 },
  f16: { mask: 0x7c007c00, one: 0x04000400, carry: 0x80008000 },
  fp8: { mask: 0x7f7f7f7f, one: 0x01010101, carry: 0x80808080 },
}

/** `bytes` starts a buffer of its own, or lies at a multiple of 4. */
export function notFiniteCount(bytes: Uint8Array<ArrayBuffer>, format: FloatFormat): number {
  const field = FIELDS[format]
  const wholeBytes = bytes.byteLength - (bytes.byteLength % 4)
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, wholeBytes / 4)
  const last = new Uint8Array(4)
  last.set(bytes.subarray(wholeBytes))
  return countIn(words, field) + countIn(new Int32Array(last.buffer), field)
}

function countIn(words: Int32Array, { mask, one, carry }: Field): number {
  let any = 0
  // By index: an iterator takes 10 ns a word here, ten times as long.
  for (let i = 0; i < words.length; i++) any |= ((words[i] ?? 0) & mask) + one
  if ((any & carry) === 0) return 0
  let count = 0
  for (const word of words) {
    for (let found = ((word & mask) + one) & carry; found !== 0; found &= found - 1) count += 1
  }
  return count
}
