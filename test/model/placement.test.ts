/** Where weights lie: every row and every expert once, nothing above the limit, nothing cut that must stay whole. */
import { describe, expect, it } from 'vitest'
import { planBanks, planWindows, type StackPart } from '../../gpu-worker/model/placement.ts'

const part = (tensor: string, rowCount: number, format: StackPart['format'] = 'bf16'): StackPart => {
  return { tensor, rowStart: 0, rowCount, format }
}

describe('planWindows()', () => {
  it('stacks tensors of one type in one window when they fit', () => {
    const windows = planWindows([part('a', 3), part('b', 5)], 16, 1, 8 * 32)
    expect(windows).toEqual([{ format: 'bf16', rowStart: 0, rowCount: 8, parts: [part('a', 3), part('b', 5)] }])
  })

  it('starts a new window at the limit, in the middle of a tensor', () => {
    const windows = planWindows([part('a', 3), part('b', 5)], 16, 1, 4 * 32 + 31)
    expect(windows.map(({ rowStart, rowCount }) => [rowStart, rowCount])).toEqual([
      [0, 4],
      [4, 4],
    ])
    expect(windows[1]?.parts).toEqual([{ ...part('b', 4), rowStart: 1 }])
  })

  it('starts a new window where the stored type changes', () => {
    const windows = planWindows([part('a', 3), part('b', 5, 'f32'), part('c', 1, 'f32')], 16, 1, 4096)
    expect(windows.map(({ format, rowStart, rowCount }) => [format, rowStart, rowCount])).toEqual([
      ['bf16', 0, 3],
      ['f32', 3, 6],
    ])
  })

  it('keeps groups of rows whole, and refuses a group that no window holds', () => {
    const windows = planWindows([part('heads', 12)], 16, 4, 11 * 32)
    expect(windows.map(({ rowCount }) => rowCount)).toEqual([8, 4])
    expect(() => planWindows([part('heads', 12)], 16, 4, 3 * 32)).toThrow(/must lie together/)
    expect(() => planWindows([part('heads', 10)], 16, 4, 4096)).toThrow(/whole groups/)
  })

  it('counts padding: 9 values of 16 bits take the room of 16', () => {
    expect(planWindows([part('a', 4)], 9, 1, 2 * 32)).toHaveLength(2)
  })
})

describe('planBanks()', () => {
  const size = { hiddenSize: 16, width: 8 }
  const slotBytes = 16 * 8 * 2

  it('puts layers into one bank while they fit', () => {
    const { banks, places } = planBanks(['bf16', 'bf16'], 3, size, 6 * slotBytes)
    expect(banks).toEqual([{ format: 'bf16', slotCount: 6 }])
    expect(places[1]?.map(({ bank, slot }) => [bank, slot])).toEqual([
      [0, 3],
      [0, 4],
      [0, 5],
    ])
  })

  it('does not let a layer straddle two banks that fits one', () => {
    const { banks } = planBanks(['bf16', 'bf16'], 3, size, 5 * slotBytes)
    expect(banks.map(({ slotCount }) => slotCount)).toEqual([3, 3])
  })

  it('splits a layer larger than a bank, whole experts only, each in a place of its own', () => {
    const { banks, places } = planBanks(['bf16', 'bf16'], 7, size, 3 * slotBytes + 1)
    const all = places.flat().map(({ bank, slot }) => `${bank}/${slot}`)
    expect(new Set(all).size).toBe(14)
    expect(banks.every(({ slotCount }) => slotCount <= 3)).toBe(true)
  })

  it('keeps stored types apart, and refuses an expert that no bank holds', () => {
    const { banks } = planBanks(['bf16', 'f32'], 1, size, 1 << 20)
    expect(banks.map(({ format }) => format)).toEqual(['bf16', 'f32'])
    expect(() => planBanks(['bf16'], 1, size, slotBytes - 1)).toThrow(/one binding holds/)
  })
})
