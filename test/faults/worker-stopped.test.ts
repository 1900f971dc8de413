/** SIGTERM of a GPU worker under load: it leaves at once and in order, and its answers go on elsewhere. */
import { afterEach, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { fakeAnswer, type FaultStage, openFaultStage, shortLocks } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const answerTokens = 80
const seeds = [1n, 2n, 3n, 4n]
let stage: FaultStage

afterEach(() => stage.close())

describe('a worker that is told to stop', () => {
  it('exits 0 and hands its answers over: they go on before its locks would have expired, uncounted', async () => {
    stage = await openFaultStage()
    const { desk, startWorker } = stage
    const first = await startWorker()
    const jobs = await Promise.all(seeds.map((seed) => desk.ask({ seed, request: { maxTokens: answerTokens } })))
    await Promise.all(jobs.map((jobId) => desk.tokens(jobId, 15)))
    const second = await startWorker()
    first.kill('SIGTERM')
    const stoppedAtMs = performance.now()
    const [exitCode] = await first.exited
    expect(exitCode).toBe(0)
    for (const [position, jobId] of jobs.entries()) {
      const start = await desk.heard(jobId, ({ entry }) => entry.kind === 'start' && entry.epoch === 2)
      expect((desk.arrivals(jobId)[start.sequence - 1] ?? Infinity) - stoppedAtMs).toBeLessThan(shortLocks.lockMs)
      await desk.end(jobId)
      const { tokenIds } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
      expect(tokenIds).toEqual(fakeAnswer(seeds[position] ?? 0n, answerTokens))
    }
    expect(await desk.redis.smembers(keys.workers)).toEqual(['w2'])
    const begun = second.log.filter(({ msg }) => msg === 'job begins').map(({ stalledCount }) => stalledCount)
    expect(begun).toEqual([0, 0, 0, 0])
  })

  it('leaves when its launcher is gone', async () => {
    stage = await openFaultStage()
    const worker = await stage.startWorker()
    worker.disconnect()
    const [exitCode] = await worker.exited
    expect(exitCode).toBe(0)
  })
})
