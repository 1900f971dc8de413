/** Which chunk is taken of those timed, and that only those are timed which may be. */
import { describe, expect, it } from 'vitest'
import { chooseChunk, measureChunk } from '../../gpu-worker/chunk-size.ts'
import { FakeRunner } from '../fake-runner.ts'

describe('chooseChunk()', () => {
  const timings = [16, 32, 64].map((rows) => ({ rows, ms: rows + 10 }))
  it.each([
    [1_000, 64],
    [74, 64],
    [73, 32],
    [42, 32],
    [41, 16],
    [26, 16],
    [25, 16],
    [0.1, 16],
  ])('within %d ms takes %i rows: the largest that keeps the budget, the smallest if none does', (budgetMs, rows) => {
    expect(chooseChunk(timings, budgetMs).rows).toBe(rows)
  })
})

describe('measureChunk()', () => {
  it('goes up to what a step holds, and takes it where time allows', async () => {
    const { runner, rows, clock } = timed(1)
    expect(await measureChunk(runner, 100, clock)).toEqual({ rows: 100, ms: 100 })
    expect(new Set(rows)).toEqual(new Set([16, 32, 64, 100]))
  })

  it('stops at the first chunk beyond the budget', async () => {
    const { runner, rows, clock } = timed(1)
    expect(await measureChunk(runner, 40, clock)).toEqual({ rows: 32, ms: 32 })
    expect(Math.max(...rows)).toBe(64)
  })

  it('times no more rows than context and pool hold twice', async () => {
    const { runner, clock } = timed(1, { contextTokensMax: 50, blockCount: 4, blockTokens: 16 })
    expect((await measureChunk(runner, 1_000, clock)).rows).toBe(25)
    const scarce = timed(1, { blockCount: 1, blockTokens: 16 })
    expect((await measureChunk(scarce.runner, 1_000, scarce.clock)).rows).toBe(8)
  })

  it('a Runner that rejects is StepFailed, as in a step', async () => {
    const runner = new FakeRunner({ rejectAtStep: 0 })
    await expect(measureChunk(runner, 100, () => 0)).rejects.toMatchObject({ name: 'StepFailed' })
  })
})

/** A Runner whose steps take `rowMs` a row on a clock of its own. */
function timed(rowMs: number, limits = {}) {
  let nowMs = 0
  const rows: number[] = []
  const runner = new FakeRunner({
    limits: { rowsMax: 100, ...limits },
    stepMs: ({ sequences }) => rowMs * (sequences[0]?.tokenIds.length ?? 0),
    wait: async (ms) => {
      nowMs += ms
    },
    onStep: ({ batch }) => rows.push(batch.sequences[0]?.tokenIds.length ?? 0),
  })
  return { runner, rows, clock: () => nowMs }
}
