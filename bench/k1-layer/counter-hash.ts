/**
 * Weights that nobody stores: every word of every tensor is a hash of (tensor, row, word), the same on GPU and CPU.
 *
 *     word i of row r of a tensor = (mix(mix(seed + r · A) + i · B) & mask) | bits
 *
 * Mask and bits turn noise into numbers of a wanted size: integers keep all of it; a float keeps its sign and fraction
 * under one exponent, so its size is uniform in [2^e, 2^(e+1)). `fill-rows.wgsl` says the same in WGSL. It knows storage
 * formats, not what a tensor is for.
 */
import type { PlainFormat, QuantizedFormat } from '../../gpu-worker/kernels/matrix.ts'

/** Odd numbers without pattern: the golden ratio's fraction, and MurmurHash3's. */
const ROW_STEP = 0x9e3779b9
const WORD_STEP = 0x85ebca6b

/** A bijection of u32 in which each bit of the input moves every bit of the output ("lowbias32", by C. Wellons). */
export function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return (x ^ (x >>> 16)) >>> 0
}

/** FNV-1a over the tensor's name. */
export function seedOf(tensor: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < tensor.length; i++) hash = Math.imul(hash ^ tensor.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

export function rowSeed(seed: number, row: number): number {
  return mix(seed + Math.imul(row, ROW_STEP))
}

export function hashedWord(seedOfRow: number, index: number): number {
  return mix(seedOfRow + Math.imul(index, WORD_STEP))
}

/** What turns a hashed u32 into stored numbers. */
export interface WordPattern {
  readonly mask: number
  readonly bits: number
}

/** Of each type: fraction bits, exponent bias, and how many lie in a word. */
const FLOATS: Readonly<
  Record<PlainFormat, { readonly fraction: number; readonly bias: number; readonly size: number }>
> = {
  f32: { fraction: 23, bias: 127, size: 32 },
  bf16: { fraction: 7, bias: 127, size: 16 },
  f16: { fraction: 10, bias: 15, size: 16 },
}

/** Floats of size [2^exponent, 2^(exponent + 1)), of either sign or positive. Throws RangeError for no normal number. */
export function floatPattern(format: PlainFormat, exponent: number, isSigned: boolean): WordPattern {
  const { fraction, bias, size } = FLOATS[format]
  const biased = exponent + bias
  if (biased < 1 || biased >= 2 * bias) throw new RangeError(`2^${exponent} is no normal ${format}`)
  const mask = 2 ** fraction - 1 + (isSigned ? 2 ** (size - 1) : 0)
  const bits = biased * 2 ** fraction
  // Twice in a word where two fit.
  const times = size === 32 ? 1 : 0x10001
  return { mask: mask * times, bits: bits * times }
}

/** fp8 leaves out the upper half of its exponents, and with it the NaNs. */
export function packedPattern(kind: QuantizedFormat['kind']): WordPattern {
  return { mask: kind === 'fp8' ? 0xbfbfbfbf : 0xffffffff, bits: 0 }
}

/** Root mean square of what `floatPattern` makes, in units of 2^exponent: sizes uniform in [1, 2). */
const FLOAT_RMS = Math.sqrt(7 / 3)
/** Of uniform nibbles around 8 and bytes around 128; of e4m3 without its upper exponents. */
const PACKED_RMS: Readonly<Record<QuantizedFormat['kind'], number>> = { int4: 4.64, int8: 73.9, fp8: 0.62 }

/** The exponent of a weight's floats (its scales, if quantised) that makes Σ w · x about `gain` times as large as x. */
export function exponentFor(gain: number, columnCount: number, kind: QuantizedFormat['kind'] | null): number {
  const unit = FLOAT_RMS * (kind === null ? 1 : PACKED_RMS[kind])
  return Math.round(Math.log2(gain / (unit * Math.sqrt(columnCount))))
}
