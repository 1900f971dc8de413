/** bf16 and back: every finite positive one, and what lies between. */
import { describe, expect, it } from 'vitest'
import { bf16Bits, bf16Value } from '../../../cli/convert/bfloat16.ts'

describe('bf16Bits', () => {
  it('gives every finite bf16 back, and rounds what lies between to the nearer, ties to even', () => {
    const wrong: number[] = []
    for (let bits = 0; bits < 0x7f7f; bits++) {
      const [low, high] = [bf16Value(bits), bf16Value(bits + 1)]
      const got = [0, 0.25, 0.5, 0.75].map((part) => bf16Bits(low + (high - low) * part) - bits)
      if (got.join() !== `0,0,${bits % 2},1`) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })
})
