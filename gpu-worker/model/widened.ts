/**
 * Stored floats as f32: exact, since every f16 and bf16 is one. As fast as a disk brings them.
 */
import type { PlainFormat } from '../kernels/matrix.ts'

/** `bytes` starts a buffer of its own, or lies at a multiple of 4; f32 values stay where they are. */
export function widened(bytes: Uint8Array<ArrayBuffer>, format: PlainFormat): Float32Array<ArrayBuffer> {
  if (format === 'f32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
  const words = new Uint32Array(halves.length)
  if (format === 'bf16') for (let i = 0; i < words.length; i++) words[i] = (halves[i] ?? 0) << 16
  else for (let i = 0; i < words.length; i++) words[i] = F16_WORDS[halves[i] ?? 0] ?? 0
  return new Float32Array(words.buffer)
}

/** The f32 bits of every f16: 256 KiB. */
const F16_WORDS = new Uint32Array(Float32Array.from({ length: 1 << 16 }, (_, half) => widenedF16(half)).buffer)

/** IEEE binary16: 1 sign, 5 exponent, 10 fraction bits. */
function widenedF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
