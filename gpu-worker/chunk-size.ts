/**
 * How many prompt rows a step may take: as many as this Runner gets through in the time that others may wait for it.
 *
 * Large chunks read the weights less often (a hundred rows touch every expert), so the largest that keeps the time is
 * taken; what the Runner holds bounds it. It sees the Runner alone, before anyone else uses it, and knows no requests.
 */
import assert from 'node:assert/strict'
import type { BlockId } from './engine/batch.ts'
import { StepFailed } from './engine/engine.ts'
import { positionsMax } from './engine/scheduler.ts'
import type { Runner } from './engine/runner.ts'

export interface ChunkTiming {
  readonly rows: number
  /** Of a step of these rows behind as many others of the same prompt. */
  readonly ms: number
}

/** Fewer are slow on any adapter: the weights are read for them all the same. */
const rowsMin = 16
/** The best of these counts: others share the machine. */
const trialCount = 2

/** @throws StepFailed when the Runner rejects. */
export async function measureChunk(runner: Runner, budgetMs: number, nowMs: () => number): Promise<ChunkTiming> {
  return chooseChunk(await timeChunks(runner, budgetMs, nowMs), budgetMs)
}

/** The largest chunk within the budget; where none is, the smallest. @param timings of ascending rows. */
export function chooseChunk(timings: readonly ChunkTiming[], budgetMs: number): ChunkTiming {
  const chosen = timings.findLast(({ ms }) => ms <= budgetMs) ?? timings[0]
  assert(chosen !== undefined, 'Cannot choose a chunk: none was timed')
  return chosen
}

/** Twice as many rows each time, up to the first that does not keep the budget: so the rows before each have been run. */
async function timeChunks(runner: Runner, budgetMs: number, nowMs: () => number): Promise<ChunkTiming[]> {
  const timings: ChunkTiming[] = []
  const largest = Math.min(runner.limits.rowsMax, Math.floor(positionsMax(runner.limits) / 2))
  let rows = Math.min(rowsMin, largest)
  await runRows(runner, 0, rows)
  for (; ; rows = Math.min(2 * rows, largest)) {
    let ms = Infinity
    for (let trial = 0; trial < trialCount; trial += 1) {
      const startedAt = nowMs()
      await runRows(runner, rows, rows)
      ms = Math.min(ms, nowMs() - startedAt)
    }
    timings.push({ rows, ms })
    if (rows === largest || ms > budgetMs) return timings
  }
}

/** So many rows of a prompt, from this position on. */
async function runRows(runner: Runner, start: number, rows: number): Promise<void> {
  const { blockTokens, vocabSize } = runner.limits
  const blocks = Array.from({ length: Math.ceil((start + rows) / blockTokens) }, (_, at) => at as BlockId)
  const tokenIds = Array.from({ length: rows }, (_, at) => at % vocabSize)
  const batch = { sequences: [{ tokenIds, start, blocks, sampler: null }] }
  await runner.run(batch).catch((error: unknown) => {
    throw new StepFailed(batch, error)
  })
}
