/** Every bit pattern of the small formats, and the edges of f32: counted exactly when it is no finite number. */
import { describe, expect, it } from 'vitest'
import { notFiniteCount } from '../../gpu-worker/model/not-finite.ts'
import { widened } from '../../gpu-worker/model/widened.ts'

const bytesOf = (values: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>) => new Uint8Array(values.buffer)

describe('notFiniteCount', () => {
  it.each(['f16', 'bf16'] as const)('tells each of the 65,536 values of %s, in either half of a word', (format) => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
    const values = widened(bytesOf(all), format)
    for (const half of [0, 1]) {
      const wrong = all.filter((bits) => {
        const word = new Uint16Array(2)
        word[half] = bits
        return notFiniteCount(bytesOf(word), format) !== Number(!Number.isFinite(values[bits]))
      })
      expect([...wrong]).toEqual([])
    }
  })

  it('tells the two NaNs of e4m3fn, in each byte of a word', () => {
    for (let place = 0; place < 4; place++) {
      const found = Array.from({ length: 256 }, (_, i) => i).filter((bits) => {
        const word = new Uint8Array(4)
        word[place] = bits
        return notFiniteCount(word, 'fp8') === 1
      })
      expect(found).toEqual([0x7f, 0xff])
    }
  })

  it('tells f32 infinities and NaNs from the largest and smallest numbers', () => {
    const values = [NaN, Infinity, -Infinity, 3.4028234663852886e38, -3.4028234663852886e38, 0, -0, 2 ** -149]
    expect(notFiniteCount(new Uint8Array(Float32Array.from(values).buffer), 'f32')).toBe(3)
  })

  it('counts each, wherever it stands, an odd end included', () => {
    const halves = new Uint16Array(1001).fill(0xffff)
    expect(notFiniteCount(bytesOf(halves), 'bf16')).toBe(1001)
    expect(notFiniteCount(new Uint8Array(7).fill(0xff), 'fp8')).toBe(7)
  })
})
