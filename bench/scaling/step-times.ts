/**
 * How long a step of so many decodes at so much context takes, and how much of it the host works.
 *
 * Through the engine over a real Runner. All sequences have one prompt, found in the prefix cache but for its last token: no
 * cell waits for thousands of prompts. The keys read are then the same for all, the arithmetic is that of different ones.
 * It judges nothing.
 */
import assert from 'node:assert/strict'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { percentile } from '../report.ts'

/** Medians over the steps of a cell. */
export interface StepTimes {
  readonly sequenceCount: number
  readonly contextTokens: number
  readonly stepMs: number
  /** Planning, packing, encoding and submitting before the wait, and reading the answer after it. */
  readonly hostMs: number
  /** Processor time of the host's thread in a whole step, waits included; not that of a software adapter. */
  readonly threadMs: number
  readonly dispatchCount: number
}

const tenantId = 'scaling'

/** Each cell: every context with every count of sequences. */
export async function stepTimes(
  runner: ModelRunner,
  contexts: readonly number[],
  sequenceCounts: readonly number[],
  stepCount: number,
): Promise<StepTimes[]> {
  let answeredAtMs = 0
  const { limits, fingerprint } = runner
  const timed = {
    limits,
    fingerprint,
    run: async (batch: Parameters<ModelRunner['run']>[0]) => {
      const result = await runner.run(batch)
      answeredAtMs = performance.now()
      return result
    },
    close: () => runner.close(),
  }
  const engine = new Engine(timed)
  const cells: StepTimes[] = []
  for (const contextTokens of contexts) {
    const { blockTokens } = limits
    // Full blocks and one token: a start from the cache runs a single row.
    const promptTokens = Math.floor((contextTokens - stepCount) / blockTokens) * blockTokens + 1
    const promptTokenIds = Array.from({ length: promptTokens }, (_, at) => (at * 7) % limits.vocabSize)
    start(engine, 'first', promptTokenIds, 1)
    while (engine.hasWork) await engine.step()
    for (const sequenceCount of sequenceCounts) {
      for (let index = 0; index < sequenceCount; index += 1)
        start(engine, `${index}`, promptTokenIds, limits.contextTokensMax)
      while (engine.stats().runningCount < sequenceCount) await engine.step()
      await engine.step()
      const steps: { stepMs: number; hostMs: number; threadMs: number }[] = []
      for (let step = 0; step < stepCount; step += 1) {
        const cpu = process.threadCpuUsage()
        const startedMs = performance.now()
        const stepping = engine.step()
        const givenMs = performance.now()
        await stepping
        const endedMs = performance.now()
        const { user, system } = process.threadCpuUsage(cpu)
        const hostMs = givenMs - startedMs + endedMs - Math.max(givenMs, answeredAtMs)
        steps.push({ stepMs: endedMs - startedMs, hostMs, threadMs: (user + system) / 1000 })
      }
      const median = (kind: 'stepMs' | 'hostMs' | 'threadMs') =>
        percentile(
          steps.map((step) => step[kind]),
          0.5,
        )
      cells.push({
        sequenceCount,
        contextTokens,
        stepMs: median('stepMs'),
        hostMs: median('hostMs'),
        threadMs: median('threadMs'),
        dispatchCount: runner.dispatchCount,
      })
      for (let index = 0; index < sequenceCount; index += 1) engine.cancel(`${index}`)
      while (engine.hasWork) await engine.step()
    }
  }
  return cells
}

function start(engine: Engine, id: string, promptTokenIds: readonly number[], answerTokensMax: number): void {
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] } as const
  const submission = engine.submit({ id, promptTokenIds, answerTokensMax, sampling, stopTokenIds: [], tenantId })
  assert.equal(submission.kind, 'accepted', 'Cannot start a sequence')
}
