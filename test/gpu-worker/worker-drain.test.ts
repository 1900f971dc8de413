/** How a worker that is told to leave treats its jobs: those that run may end in time, the others go to another worker. */
import { describe, expect, it } from 'vitest'
import type { JobId } from '../../contract/ids.ts'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { EngineLoop } from '../../gpu-worker/engine-loop.ts'
import { WorkerFigures } from '../../gpu-worker/figures.ts'
import { JobFigures } from '../../gpu-worker/job-figures.ts'
import { planJob } from '../../gpu-worker/job-plan.ts'
import { JobRun } from '../../gpu-worker/job-run.ts'
import { FakeRunner } from '../fake-runner.ts'
import { fakeAnswer } from '../fixtures/fault-stage.ts'
import { WorkerBench } from '../fixtures/worker-bench.ts'

const bench = WorkerBench.forThisFile()
/** Longer than any test. */
const patienceMs = 100_000
const answerTokens = 60

describe('a worker that drains', () => {
  it('finishes what runs, hands back what waits at once and uncounted, takes nothing more, and leaves', async () => {
    const worker = await bench.start({ limits: { sequencesMax: 1 }, stepMs: () => 5 })
    const runs = await ask(1n)
    await bench.desk.tokens(runs, 3)
    const waits = await ask(2n)
    await expect.poll(() => bench.desk.queue(0).getActiveCount()).toBe(2)
    const leaving = worker.stop(patienceMs)
    await expect.poll(() => bench.desk.queue(0).getPrioritizedCount()).toBe(1)
    const late = await ask(3n)
    expect((await bench.outcomeOf(runs)).tokenIds).toEqual(fakeAnswer(1n, answerTokens))
    await leaving
    await worker.ended
    expect([waits, late].map((jobId) => bench.desk.live(jobId).filter(({ entry }) => entry.kind === 'token'))).toEqual([
      [],
      [],
    ])
    await bench.startNext()
    for (const [jobId, seed] of [
      [waits, 2n],
      [late, 3n],
    ] as const)
      expect((await bench.outcomeOf(jobId)).tokenIds).toEqual(fakeAnswer(seed, answerTokens))
    expect(bench.lines.filter((line) => line.includes('job begins') && !line.includes('"stalledCount":0'))).toEqual([])
  })

  it('hands back what has not ended in time, or when it is told to hurry; it goes on elsewhere where it stood', async () => {
    for (const hurries of [false, true]) {
      const worker = await bench.start({ stepMs: () => 20 })
      const jobId = await ask(4n)
      await bench.desk.tokens(jobId, 3)
      const leaving = worker.stop(hurries ? patienceMs : 50)
      if (hurries) void worker.stop()
      await leaving
      expect(await bench.desk.queue(0).getPrioritizedCount()).toBe(1)
      await bench.startNext()
      expect((await bench.outcomeOf(jobId)).tokenIds).toEqual(fakeAnswer(4n, answerTokens))
      await bench.stop()
    }
  })

  it('leaves at once when it holds nothing', async () => {
    const worker = await bench.start()
    await worker.stop(patienceMs)
    await expect(worker.ended).resolves.toBeUndefined()
  })
})

describe('JobRun.begin()', () => {
  it('hands the job back, its log untouched, when the engine began to drain after the claim', async () => {
    const jobId = await ask(5n)
    const claim = await bench.desk.scripts.claim(jobId, 'w1')
    if (claim.kind !== 'claimed') throw new Error('The job is there to be claimed')
    const loop = new EngineLoop(
      new Engine(new FakeRunner()),
      () => 0,
      () => undefined,
    )
    const log = { entryCount: 0, promptTokens: 0, tokenIds: [], tokenEntries: [] }
    const plan = planJob(claim.record, log, bench.text, loop.tokensMax)
    const { scripts } = bench.desk
    const figures = new WorkerFigures()
    const clockMs = performance.now.bind(performance)
    const context = { loop, scripts, log: bench.log, fingerprint: 'fake', redisDeadlineMs: 1_000, figures, clockMs }
    const run = new JobRun(context, claim.record, plan, new JobFigures(figures, clockMs, claim.record))
    loop.drain()
    run.begin(false)
    expect(await run.outcome).toEqual({ kind: 'handed-back' })
    expect(bench.desk.live(jobId)).toEqual([])
  })
})

function ask(seed: bigint): Promise<JobId> {
  return bench.desk.ask({ seed, request: { maxTokens: answerTokens } })
}
