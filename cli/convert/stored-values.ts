/**
 * Floats as checkpoints store them, to f32 and back: a whole chunk at a time, at the speed of a disk.
 *
 * It knows no tensor and no quantisation.
 */

export const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const
export type FloatType = keyof typeof FLOAT_BYTES

export function isFloatType(type: string): type is FloatType {
  return Object.hasOwn(FLOAT_BYTES, type)
}

const oneFloat = new Float32Array(1)
const oneWord = new Uint32Array(oneFloat.buffer)

/** The f32 bits of every f16, 256 KiB. */
const F16_AS_F32 = Uint32Array.from({ length: 1 << 16 }, (_, half) => f32Bits(f16Value(half)))

/** Exact: every f16 and bf16 is an f32. `bytes` starts a buffer of its own; f32 values stay in it. */
export function widen(bytes: Uint8Array<ArrayBuffer>, type: FloatType): Float32Array {
  const { buffer, byteLength } = bytes
  if (type === 'f32') return new Float32Array(buffer, 0, byteLength / 4)
  const halves = new Uint16Array(buffer, 0, byteLength / 2)
  const words = new Uint32Array(halves.length)
  if (type === 'bf16') for (let i = 0; i < words.length; i++) words[i] = (halves[i] ?? 0) << 16
  else for (let i = 0; i < words.length; i++) words[i] = F16_AS_F32[halves[i] ?? 0] ?? 0
  return new Float32Array(words.buffer)
}

/** IEEE binary16: 1 sign, 5 exponent, 10 fraction bits. */
function f16Value(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The bits of the nearest bf16, ties to even, of a finite value. */
export function bf16Bits(value: number): number {
  const bits = f32Bits(value)
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** The value that bf16 bits stand for. */
export function bf16Value(bits: number): number {
  oneWord[0] = bits << 16
  return oneFloat[0] ?? 0
}

function f32Bits(value: number): number {
  oneFloat[0] = value
  return oneWord[0] ?? 0
}
