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
function planned(keys: readonly number[], own: AttentionWork, cutsAll = false): Map<number, number[]> {
  const { writes, counts } = planAttention(keys, own, cutsAll)
  const splits = new Map<number, number[]>()
  for (const round of ROUNDS) {
    const [items, merges] = [writes[2 * round]?.values ?? [], writes[2 * round + 1]?.values ?? []]
    expect(items.length).toBe(2 * counts[`splits-${round}`])
    expect(merges.length).toBe(4 * counts[`merges-${round}`])
    expect(counts[`splits-${round}`], 'a slot for each split').toBeLessThanOrEqual(own.slotCount)
    const merged = new Map<number, number[]>()
    for (let i = 0; i < items.length; i += 2) {
      const [row, split] = [items[i] ?? -1, items[i + 1] ?? -1]
      merged.set(row, [...(merged.get(row) ?? []), split])
    }
    let slot = 0
    for (let i = 0; i < merges.length; i += 4) {
      const [row, first, count] = [merges[i] ?? -1, merges[i + 1], merges[i + 2]]
      expect([first, count]).toEqual([slot, merged.get(row)?.length])
      expect(splits.has(row), 'one result a row').toBe(false)
      splits.set(row, merged.get(row) ?? [])
      slot += count ?? 0
    }
  }
  const wholes = writes[2 * ROUNDS.length]?.values ?? []
  expect(wholes.length).toBe(2 * counts.wholes)
  for (let i = 0; i < wholes.length; i += 2) {
    expect([splits.has(wholes[i] ?? -1), wholes[i + 1]]).toEqual([false, WHOLE])
    splits.set(wholes[i] ?? -1, [WHOLE])
  }
  return splits
}

it('rows of one split are left whole, and nothing is merged', () => {
  const { counts } = planAttention([1, 512, 200], work(100, 3), false)
  expect(counts).toMatchObject({ wholes: 3, 'splits-0': 0, 'merges-0': 0 })
})

it('where all rows are cut, those of one split are, too, and rows without slots are left whole', () => {
  const splits = planned([1, 513, 200, 5000], work(3, 4), true)
  expect([...splits].sort(([a], [b]) => a - b)).toEqual([
    [0, [0]],
    [1, [0, 1]],
    [2, [0]],
    [3, [WHOLE]],
  ])
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
    const splits = planned(keys, work(roll(0, 60), keys.length), seed % 3 === 0)
    keys.forEach((count, row) => {
      const all = Array.from({ length: Math.ceil(count / 512) }, (_, split) => split)
      expect([[WHOLE], all]).toContainEqual(splits.get(row))
    })
  }
})

it('slots hold the longest sequence or none, and no more than is affordable', () => {
  expect(slotCountFor(512, 8, 100, 1e9, false)).toBe(0)
  expect(slotCountFor(512, 8, 100, 1e9, true)).toBe(8)
  expect(slotCountFor(513, 8, 100, 1e9, false)).toBe(16)
  expect(slotCountFor(131_072, 512, 132_096, 128 << 20, false)).toBe(1016)
  expect(slotCountFor(131_072, 512, 132_096, 1 << 20, false)).toBe(0)
})
