/** Stored floats as f32: every one of the 65,536 halves. */
import { describe, expect, it } from 'vitest'
import { widened } from '../../gpu-worker/model/widened.ts'

const everyHalf = Uint16Array.from({ length: 1 << 16 }, (_, i) => i)
const bytes = (values: Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  new Uint8Array(values.slice().buffer)

describe('widened', () => {
  it('reads every bf16 as the f32 with its bits in front', () => {
    const wide = widened(bytes(everyHalf), 'bf16')
    const expected = new Float32Array(Uint32Array.from(everyHalf, (half) => half * 65_536).buffer)
    expect(Buffer.from(wide.buffer).equals(Buffer.from(expected.buffer))).toBe(true)
  })

  it('reads every f16 as IEEE binary16', () => {
    const wide = widened(bytes(everyHalf), 'f16')
    const view = new DataView(everyHalf.buffer)
    const wrong = [...wide].findIndex((value, i) => !Object.is(value, getFloat16(view, i * 2)))
    expect(wrong).toBe(-1)
  })

  it('leaves f32 as it is', () => {
    const values = Float32Array.of(1.5, -0, 3e38, 1e-45)
    expect([...widened(bytes(values), 'f32')]).toEqual([...values])
  })
})

/** IEEE binary16, the obvious way. */
function getFloat16(view: DataView, offset: number): number {
  const half = view.getUint16(offset, true)
  const [sign, exponent, fraction] = [half >> 15 === 1 ? -1 : 1, (half >> 10) % 32, half % 1024]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * (fraction / 2 ** 24) : sign * (1024 + fraction) * 2 ** (exponent - 25)
}
