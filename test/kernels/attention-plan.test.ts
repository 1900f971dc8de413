/** The plan of a step's attention: every key of every row once, within slots and rounds; short steps are left whole. */
import { expect, it } from 'vitest'
import {
  layOutAttentionWork,
  planAttention,
  ROUNDS,
  slotCountFor,
  type AttentionWork,
} from '../../gpu-worker/kernels/attention-plan.ts'
import { CountedMemory } from '../../gpu-worker/gpu/counted-memory.ts'
import { dice } from '../fixtures/dice.ts'

const WHOLE = 0xffffffff

function work(slotCount: number, rowsMax: number): AttentionWork {
  return layOutAttentionWork(new CountedMemory(Infinity), { slotCount, rowsMax })
}

/** Splits of each row that a plan computes, and whether each row is written once, by a merge or as a whole. */
function planned(keys: readonly number[], own: AttentionWork): Map<number, number[]> {
  const { writes, counts } = planAttention(keys, own)
  const splits = new Map<number, number[]>()
  for (const round of ROUNDS) {
    const [items, merges] = [writes[2 * round]?.values ?? [], writes[2 * round + 1]?.values ?? []]
    expect(items.length).toBe(2 * counts[`items-${round}`])
    expect(merges.length).toBe(4 * counts[`merges-${round}`])
    const merged = new Map<number, number[]>()
    for (let i = 0; i < items.length; i += 2) {
      const [row, split] = [items[i] ?? -1, items[i + 1] ?? -1]
      const isWhole = split === WHOLE
      expect(isWhole ? !splits.has(row) : i / 2 < own.slotCount, 'one result a row, a slot for each split').toBe(true)
      if (isWhole) splits.set(row, [WHOLE])
      else merged.set(row, [...(merged.get(row) ?? []), split])
    }
    let slot = 0
    for (let i = 0; i < merges.length; i += 4) {
      const [row, first, count] = [merges[i] ?? -1, merges[i + 1], merges[i + 2]]
      expect([first, count]).toEqual([slot, merged.get(row)?.length])
      expect(splits.has(row)).toBe(false)
      splits.set(row, merged.get(row) ?? [])
      slot += count ?? 0
    }
  }
  return splits
}

it('rows of one split are left whole, and nothing is merged', () => {
  const { counts } = planAttention([1, 512, 200], work(100, 3))
  expect(counts).toMatchObject({ 'items-0': 3, 'merges-0': 0, 'items-1': 0 })
})

it('a long row alone is cut into all its splits; beside many as long as itself it is left whole', () => {
  expect(planned([1025], work(3, 1)).get(0)).toEqual([0, 1, 2])
  expect(
    planned(
      Array.from({ length: 128 }, () => 1024),
      work(10_000, 128),
    ).get(0),
  ).toEqual([WHOLE])
})

it('every split of every row is computed once, in ascending slots of one round, within the slots', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const roll = dice(seed)
    const keys = Array.from({ length: roll(1, 40) }, () => roll(1, seed % 2 === 0 ? 600 : 9000))
    const splits = planned(keys, work(roll(0, 60), keys.length))
    keys.forEach((count, row) => {
      const all = Array.from({ length: Math.ceil(count / 512) }, (_, split) => split)
      expect([[WHOLE], all]).toContainEqual(splits.get(row))
    })
  }
})

it('slots hold the longest sequence or none, and no more than is affordable', () => {
  expect(slotCountFor(512, 8, 100, 1e9)).toBe(0)
  expect(slotCountFor(513, 8, 100, 1e9)).toBe(16)
  expect(slotCountFor(131_072, 512, 132_096, 128 << 20)).toBe(1016)
  expect(slotCountFor(131_072, 512, 132_096, 1 << 20)).toBe(0)
})
