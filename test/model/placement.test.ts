/** Where weights lie: every row and every expert once, nothing above the limit, nothing cut that must stay whole. */
import { describe, expect, it } from 'vitest'
import { rowBytes, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import type { MatrixPart } from '../../gpu-worker/model/layout.ts'
import { planBanks, planWindows, type ExpertFormats } from '../../gpu-worker/model/placement.ts'

const int4: WeightFormat = { kind: 'int4', groupColumns: 4, scale: 'bf16', hasZeroPoints: false }

const part = (name: string, rowCount: number, format: WeightFormat = 'bf16', columnCount = 16): MatrixPart => {
  const tensors = { name, values: name, scales: null, zeroPoints: null }
  return { weight: { ...tensors, rowCount, columnCount, format, rowsPerScale: 1 }, rowStart: 0, rowCount }
}

const stack = (parts: MatrixPart[], columnCount: number, rowsTogether: number) => ({ parts, columnCount, rowsTogether })

const experts = (count: number, gateUpFormat: WeightFormat = 'bf16', downFormat = gateUpFormat): ExpertFormats[] =>
  Array.from({ length: count }, () => ({ gateUpFormat, downFormat }))

describe('planWindows()', () => {
  it('stacks tensors of one type in one window when they fit', () => {
    const windows = planWindows(stack([part('a', 3), part('b', 5)], 16, 1), 8 * 32)
    expect(windows).toEqual([{ format: 'bf16', rowStart: 0, rowCount: 8, parts: [part('a', 3), part('b', 5)] }])
  })

  it('starts a new window at the limit, in the middle of a tensor', () => {
    const windows = planWindows(stack([part('a', 3), part('b', 5)], 16, 1), 4 * 32 + 31)
    expect(windows.map(({ rowStart, rowCount }) => [rowStart, rowCount])).toEqual([
      [0, 4],
      [4, 4],
    ])
    expect(windows[1]?.parts).toEqual([{ ...part('b', 5), rowStart: 1, rowCount: 4 }])
  })

  it('starts a new window where the stored type changes', () => {
    const windows = planWindows(stack([part('a', 3), part('b', 5, 'f32'), part('c', 1, 'f32')], 16, 1), 4096)
    expect(windows.map(({ format, rowStart, rowCount }) => [format, rowStart, rowCount])).toEqual([
      ['bf16', 0, 3],
      ['f32', 3, 6],
    ])
  })

  it('keeps groups of rows whole, and refuses a group that no window holds', () => {
    const windows = planWindows(stack([part('heads', 12)], 16, 4), 11 * 32)
    expect(windows.map(({ rowCount }) => rowCount)).toEqual([8, 4])
    expect(() => planWindows(stack([part('heads', 12)], 16, 4), 3 * 32)).toThrow(/must lie together/)
    expect(() => planWindows(stack([part('heads', 10)], 16, 4), 4096)).toThrow(/whole groups/)
  })

  it('puts equal quantised formats into one window, and other groups into another', () => {
    const parts = [part('a', 2, int4), part('b', 2, { ...int4 }), part('c', 2, { ...int4, groupColumns: 8 })]
    const windows = planWindows(stack(parts, 16, 1), 4 * rowBytes(16, int4))
    expect(windows.map(({ rowStart, rowCount }) => [rowStart, rowCount])).toEqual([
      [0, 4],
      [4, 2],
    ])
  })

  it('counts padding: 9 values of 16 bits take the room of 16', () => {
    expect(planWindows(stack([part('a', 4)], 9, 1), 2 * 32)).toHaveLength(2)
  })
})

describe('planBanks()', () => {
  const size = { hiddenSize: 16, width: 8 }
  const slotBytes = 16 * 8 * 2

  it('puts layers into one bank while they fit', () => {
    const { banks, places } = planBanks([experts(3), experts(3)], size, 6 * slotBytes)
    expect(banks).toEqual([{ gateUpFormat: 'bf16', downFormat: 'bf16', slotCount: 6 }])
    expect(places[1]?.map(({ bank, slot }) => [bank, slot])).toEqual([
      [0, 3],
      [0, 4],
      [0, 5],
    ])
  })

  it('does not let a layer straddle two banks that fits one', () => {
    const { banks } = planBanks([experts(3), experts(3)], size, 5 * slotBytes)
    expect(banks.map(({ slotCount }) => slotCount)).toEqual([3, 3])
  })

  it('splits a layer larger than a bank, whole experts only, each in a place of its own', () => {
    const { banks, places } = planBanks([experts(7), experts(7)], size, 3 * slotBytes + 1)
    const all = places.flat().map(({ bank, slot }) => `${bank}/${slot}`)
    expect(new Set(all).size).toBe(14)
    expect(banks.every(({ slotCount }) => slotCount <= 3)).toBe(true)
  })

  it('keeps stored types apart, and refuses an expert that no bank holds', () => {
    const { banks } = planBanks([experts(1), experts(1, 'f32')], size, 1 << 20)
    expect(banks.map(({ gateUpFormat }) => gateUpFormat)).toEqual(['bf16', 'f32'])
    expect(() => planBanks([experts(1)], size, slotBytes - 1)).toThrow(/one binding holds/)
  })

  it('gives each pair of formats within a layer banks of its own, and goes on in them in the next layer', () => {
    const mixed = [...experts(2), ...experts(3, int4, 'bf16'), ...experts(1, int4)]
    const { banks, places } = planBanks([mixed, mixed], size, 1 << 20)
    expect(banks).toEqual([
      { gateUpFormat: 'bf16', downFormat: 'bf16', slotCount: 4 },
      { gateUpFormat: int4, downFormat: 'bf16', slotCount: 6 },
      { gateUpFormat: int4, downFormat: int4, slotCount: 2 },
    ])
    expect(places[1]?.map(({ bank, slot }) => [bank, slot])).toEqual([
      [0, 2],
      [0, 3],
      [1, 3],
      [1, 4],
      [1, 5],
      [2, 1],
    ])
  })

  it("counts the larger of an expert's three bindings", () => {
    const wide = 16 * rowBytes(8, 'f32')
    expect(() => planBanks([experts(1, int4, 'f32')], size, wide - 1)).toThrow(/one binding holds/)
    expect(planBanks([experts(1, int4, 'f32')], size, wide).banks).toHaveLength(1)
  })
})
