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
import type { Processor } from '../../gpu-worker/gpu/program.ts'
import { dice } from '../fixtures/dice.ts'

const WHOLE = 0xffffffff

function work(slotCount: number, rowsMax: number): AttentionWork {
  return layOutAttentionWork(new CountedMemory(Infinity), { slotCount, rowsMax, hasStages: true })
}

/** Splits of each row that a plan computes, and whether each row is written once: by a mix, by a merge or as a whole. */
function planned(keys: readonly number[], own: AttentionWork, processor: Processor = 'cpu'): Map<number, number[]> {
  const { writes, counts } = planAttention(keys, own, processor)
  const splits = new Map<number, number[]>()
  for (const round of ROUNDS) {
    const [items, mixes, merges] = writes.slice(3 * round, 3 * round + 3).map(({ values }) => Array.from(values))
    expect(items?.length).toBe(2 * counts[`splits-${round}`])
    expect(mixes?.length).toBe(4 * counts[`mixes-${round}`])
    expect(merges?.length).toBe(4 * counts[`merges-${round}`])
    expect(counts[`splits-${round}`], 'a slot for each split').toBeLessThanOrEqual(own.slotCount)
    const slots = recordsOf(items ?? [], 2)
    const inSlots = (row: number, first: number, count: number): number[] =>
      slots.slice(first, first + count).map(([owner, split]) => (owner === row ? (split ?? -1) : -1))
    const once = (row: number, computed: number[]): void => {
      expect(splits.has(row), 'one result a row').toBe(false)
      splits.set(row, computed)
    }
    const apart: number[][] = []
    for (const [row = -1, slot = -1, first = -1, count = -1] of recordsOf(mixes ?? [], 4)) {
      const isAll = count === Math.ceil((keys[row] ?? 0) / 512)
      if (isAll) once(row, inSlots(row, slot, count))
      else apart.push([row, slot, first, count])
    }
    const mixed: number[][] = []
    for (const [row = -1, slot = -1, count = -1] of recordsOf(merges ?? [], 4)) {
      once(row, inSlots(row, slot, count))
      for (let split = 0; split < count; split++) mixed.push([row, slot + split, split, 1])
    }
    expect(apart, 'a part for each split that is merged').toEqual(processor === 'gpu' ? mixed : [])
  }
  const wholes = recordsOf([...(writes.at(-1)?.values ?? [])], 2)
  expect(wholes.length).toBe(counts.wholes)
  for (const [row = -1, mark] of wholes) {
    expect([splits.has(row), mark]).toEqual([false, WHOLE])
    splits.set(row, [WHOLE])
  }
  return splits
}

/** Records of `size` words. */
function recordsOf(words: readonly number[], size: number): number[][] {
  return Array.from({ length: words.length / size }, (_, i) => words.slice(i * size, (i + 1) * size))
}

it('rows of one split are left whole, and nothing is merged', () => {
  const { counts } = planAttention([1, 512, 200], work(100, 3), 'cpu')
  expect(counts).toMatchObject({ wholes: 3, 'splits-0': 0, 'merges-0': 0 })
})

it('in stages rows of one split take slots, too, and rows without slots are left whole', () => {
  const splits = planned([1, 513, 200, 5000], work(3, 4), 'gpu')
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

it('in stages all splits of a row are mixed together where they are few of the step, and each of its own where not', () => {
  expect(planAttention([1025], work(9, 1), 'gpu').counts).toMatchObject({ 'splits-0': 3, 'mixes-0': 3, 'merges-0': 1 })
  const many = Array.from({ length: 8 }, () => 1025)
  expect(planAttention(many, work(24, 8), 'gpu').counts).toMatchObject({ 'splits-0': 24, 'mixes-0': 8, 'merges-0': 0 })
})

it('every split of every row is computed once, in ascending slots of one round, within the slots', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const roll = dice(seed)
    const keys = Array.from({ length: roll(1, 40) }, () => roll(1, seed % 2 === 0 ? 600 : 9000))
    const splits = planned(keys, work(roll(0, 60), keys.length), seed % 3 === 0 ? 'gpu' : 'cpu')
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
