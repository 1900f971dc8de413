/** The policy alone, step by step: budgets, block edges, order, preemption, isolation. No Runner, no engine. */
import { describe, expect, it } from 'vitest'
import { positionsMax } from '../../gpu-worker/engine/scheduler.ts'
import { blockCountOf, policy, roomy } from './scheduler-setup.ts'

/** Three sequences of two blocks each fill the pool; the next edge needs a block more. */
function fullPolicy() {
  const all = policy({ blockCount: 6, blockTokens: 2 })
  const sequences = [all.add(2), all.add(2), all.add(2)] as const
  for (let count = 0; count < 3; count += 1) all.step()
  return { ...all, sequences }
}

describe('Scheduler.schedule()', () => {
  it('is empty without sequences', () => {
    expect(policy().step()).toEqual([])
  })

  const caps: readonly (readonly [number, number, number])[] = [
    [3, 8, 3],
    [4, 8, 4],
    [4, 3, 3],
    [4, 1, 1],
  ]
  it.each(caps)('with sequencesMax %i and rowsMax %i it runs %i at once', (sequencesMax, rowsMax, expected) => {
    const { scheduler, add, step } = policy({ sequencesMax, rowsMax })
    for (let count = 0; count < 6; count += 1) add(1)
    for (let count = 0; count < 8; count += 1) step()
    expect(scheduler.runningCount).toBe(expected)
  })

  const admissions: readonly (readonly [number, number])[] = [
    [1, 1],
    [3, 1],
    [4, 2],
    [7, 2],
    [8, 3],
  ]
  it.each(admissions)(
    'admits a prompt of %i when %i blocks of 4 are free, not with one fewer',
    (promptCount, needed) => {
      for (const freeCount of [needed, needed - 1]) {
        const { add, step } = policy({ blockCount: 1 + freeCount })
        add(2)
        step()
        const sequence = add(promptCount)
        step()
        expect(blockCountOf(sequence), `${freeCount} free`).toBe(freeCount === needed ? needed : 0)
      }
    },
  )

  it('a decode takes a new block exactly when its row crosses the edge', () => {
    const { add, step } = policy()
    const sequence = add(2)
    const counts = Array.from({ length: 7 }, () => {
      step()
      return [sequence.tokenIds.length - 1, blockCountOf(sequence)]
    })
    expect(counts).toEqual([
      [2, 1],
      [3, 1],
      [4, 1],
      [5, 2],
      [6, 2],
      [7, 2],
      [8, 2],
    ])
  })

  it('a sequence that does not fit yet is not overtaken by one that would', () => {
    const { add, step } = policy({ blockCount: 4 })
    add(5)
    const large = add(8)
    const small = add(1)
    step()
    step()
    expect([large.state.kind, small.state.kind]).toEqual(['waiting', 'waiting'])
  })
})

describe('Scheduler preemption', () => {
  it('takes the newest first, which keeps its tokens and loses its blocks', () => {
    const { scheduler, step, sequences } = fullPolicy()
    const [, , newest] = sequences
    expect(scheduler.blocks.freeCount).toBe(0)
    expect(step()).toEqual(['a:1', 'b:1'])
    expect(newest.state).toEqual({ kind: 'waiting' })
    expect(newest.tokenIds).toHaveLength(5)
    expect(scheduler.preemptionCount).toBe(1)
  })

  it('recomputes from position 0 once there is room, and then samples the next index', () => {
    const { scheduler, step, sequences } = fullPolicy()
    const [oldest, middle, newest] = sequences
    step()
    scheduler.end(oldest)
    scheduler.end(middle)
    expect(step()).toEqual(['c:5'])
    expect(newest.answerCount).toBe(4)
  })

  it('recomputes only what nobody keeps any more: its own full blocks are found while they live', () => {
    const { scheduler, add, step } = policy({ blockCount: 6, blockTokens: 2 })
    const oldest = add(2)
    const newest = add(5, { tenantId: 'acme' })
    for (let count = 0; count < 4; count += 1) step()
    expect(scheduler.blocks.freeCount).toBe(0)
    while (scheduler.preemptionCount === 0) step()
    expect(newest.state.kind).toBe('waiting')
    expect(scheduler.blocks.cachedCount).toBeGreaterThan(0)
    scheduler.end(oldest)
    const [readmitted] = scheduler.schedule(0)
    expect(readmitted?.rows.start).toBeGreaterThanOrEqual(4)
  })

  it('takes a batch sequence before a newer interactive one of the same age', () => {
    const { add, step } = policy({ blockCount: 6, blockTokens: 2 })
    add(2)
    const batch = add(2, { serviceClass: 'batch' })
    const interactive = add(2)
    for (let count = 0; count < 4; count += 1) step()
    expect([batch.state.kind, interactive.state.kind]).toEqual(['waiting', 'running'])
  })

  it('takes a sequence in mid-prefill like any other', () => {
    const { add, step } = policy({ blockCount: 6, blockTokens: 2 }, 1)
    add(2)
    const prefilling = add(6)
    expect(step()).toEqual(['a:1'])
    expect(step()).toEqual(['a:1', 'b:1'])
    expect(step()).toEqual(['a:1', 'b:1'])
    expect(step()).toEqual(['a:1', 'b:1'])
    expect(prefilling.state).toMatchObject({ kind: 'running', computedCount: 3 })
    expect(step()).toEqual(['a:1'])
    expect(prefilling.state).toEqual({ kind: 'waiting' })
  })

  it('takes the one that needs a block when it is the newest itself', () => {
    const { scheduler, add, step } = policy({ blockCount: 4, blockTokens: 2 })
    add(4)
    const newest = add(1)
    step()
    step()
    expect(scheduler.blocks.freeCount).toBe(0)
    expect(step()).toEqual(['a:1'])
    expect(newest.state.kind).toBe('waiting')
  })

  it('never takes the oldest: it grows to the whole pool', () => {
    const { scheduler, add, step } = policy({ blockCount: 6, blockTokens: 2 })
    const oldest = add(2)
    add(2)
    add(2)
    for (let count = 0; count < 10; count += 1) {
      step()
      expect(oldest.state.kind).toBe('running')
    }
    expect(oldest.tokenIds).toHaveLength(12)
    expect(scheduler.preemptionCount).toBeGreaterThan(1)
  })
})

describe('Scheduler isolation', () => {
  it('an isolated sequence starts when nothing else runs, and nothing starts beside it', () => {
    const { scheduler, add, step } = policy()
    const before = add(1)
    const isolated = add(9, { isolated: true })
    const behind = add(1)
    expect(step()).toEqual(['a:1'])
    expect(step()).toEqual(['a:1'])
    scheduler.end(before)
    expect(step()).toEqual(['b:8'])
    expect(step()).toEqual(['b:1'])
    expect(step()).toEqual(['b:1'])
    expect(behind.state.kind).toBe('waiting')
    scheduler.end(isolated)
    expect(step()).toEqual(['c:1'])
  })
})

describe('Scheduler.end()', () => {
  it('takes a sequence out of any state and leaves no block behind', () => {
    const { scheduler, add, step } = policy()
    const decoding = add(2)
    const prefilling = add(20)
    const waiting = add(2)
    step()
    step()
    expect([decoding.pendingCount, prefilling.pendingCount, waiting.pendingCount]).toEqual([1, 7, 2])
    for (const sequence of [decoding, prefilling, waiting]) {
      scheduler.end(sequence)
      scheduler.checkIntegrity()
      expect(sequence.state).toEqual({ kind: 'ended' })
    }
    expect(scheduler.blocks.freeCount).toBe(roomy.blockCount)
    expect(step()).toEqual([])
  })
})

describe('positionsMax()', () => {
  it.each([
    [9, 2, 4, 8],
    [8, 2, 4, 8],
    [7, 2, 4, 7],
  ])('of a context of %i and %i blocks of %i is %i', (contextTokensMax, blockCount, blockTokens, expected) => {
    expect(positionsMax({ ...roomy, contextTokensMax, blockCount, blockTokens })).toBe(expected)
  })
})
