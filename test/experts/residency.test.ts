/**
 * Residency: whoever a step needs has his turn, never more at once than there are slots, and whoever is wanted stays.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Residency, type Round } from '../../gpu-worker/experts/residency.ts'

const EXPERTS_MAX = 24

/** A layer, and what its steps need one after the other. */
const lives = fc.integer({ min: 1, max: EXPERTS_MAX }).chain((expertCount) =>
  fc.record({
    expertCount: fc.constant(expertCount),
    slotCount: fc.integer({ min: 1, max: expertCount }),
    steps: fc.array(fc.uniqueArray(fc.integer({ min: 0, max: expertCount - 1 }), { minLength: 1 }), { maxLength: 40 }),
  }),
)

describe('Residency.plan()', () => {
  it('gives every needed expert one turn, in the slot where it then lies, in as few rounds as can be', () => {
    fc.assert(
      fc.property(lives, ({ expertCount, slotCount, steps }) => {
        const residency = new Residency(expertCount, slotCount)
        const slots: (number | null)[] = Array.from({ length: slotCount }, () => null)
        for (const needed of steps) {
          const held = needed.filter((expert) => slots.includes(expert)).length
          const rounds = residency.plan(new Set(needed))
          for (const { loads, experts } of rounds) {
            for (const { expert, slot } of loads) slots[slot] = expert
            expect(new Set(loads.map(({ slot }) => slot)).size, 'one expert a slot').toBe(loads.length)
            expect(slots, 'no slots but those there are').toHaveLength(slotCount)
            for (const { expert, slot } of experts) expect(slots[slot], 'it lies where it is said to').toBe(expert)
          }
          const turns = rounds.flatMap(({ experts }) => experts.map(({ expert }) => expert))
          expect(turns.toSorted(ascending)).toEqual(needed.toSorted(ascending))
          expect(rounds).toHaveLength(Math.ceil(needed.length / slotCount))
          // Whoever was there when the step began is not brought again.
          expect(loadsOf(rounds)).toHaveLength(needed.length - held)
        }
      }),
    )
  })

  it('brings each expert once where all have a slot', () => {
    const residency = new Residency(6, 6)
    expect(loadsOf(residency.plan(new Set([0, 1, 2])))).toHaveLength(3)
    expect(loadsOf(residency.plan(new Set([2, 3, 4, 5])))).toHaveLength(3)
    expect(loadsOf(residency.plan(new Set([0, 1, 2, 3, 4, 5])))).toEqual([])
    expect([residency.needed, residency.held]).toEqual([13, 7])
  })

  it('lets go of the expert that steps needed least, not of the one that came first', () => {
    const residency = new Residency(8, 3)
    for (const expert of [0, 0, 0, 1, 2]) residency.plan(new Set([expert]))
    // 1 and 2 were needed once, 1 longer ago.
    expect(residency.plan(new Set([3]))).toMatchObject([{ loads: [{ expert: 3, slot: 1 }] }])
    expect(loadsOf(residency.plan(new Set([0, 3])))).toEqual([])
  })

  it('forgets: what was needed often long ago leaves before what is needed now', () => {
    const residency = new Residency(4, 2)
    for (let step = 0; step < 8; step++) residency.plan(new Set([0]))
    for (let step = 0; step < 40; step++) residency.plan(new Set([1]))
    residency.plan(new Set([2]))
    expect(loadsOf(residency.plan(new Set([1])))).toEqual([])
  })

  it('refuses a layer without a slot, and more slots than experts', () => {
    expect(() => new Residency(4, 0)).toThrow(/1 … 4, got 0/)
    expect(() => new Residency(4, 5)).toThrow(/1 … 4, got 5/)
    expect(() => new Residency(4, 4).plan(new Set([4]))).toThrow(/no expert 4/)
  })
})

function loadsOf(rounds: readonly Round[]): unknown[] {
  return rounds.flatMap(({ loads }) => loads)
}

function ascending(left: number, right: number): number {
  return left - right
}
