/** `kill -9` of a GPU worker in mid-answer: the answer goes on, from its log, with real processes and the real times. */
import { afterEach, describe, expect, it } from 'vitest'
import type { LogEvent } from '../../contract/event.ts'
import { takeoverBudgetMs } from '../../contract/limits.ts'
import { fakeAnswer, type FaultStage, openFaultStage } from '../fixtures/fault-stage.ts'
import type { FakeWorkerOrders } from '../fixtures/fake-gpu-worker.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const answerTokens = 60
let stage: FaultStage

afterEach(() => stage.close())

/** Kills the worker after some tokens and starts another at once, as a supervisor does; the answer's whole story. */
async function killInMidAnswer(orders: Partial<FakeWorkerOrders>) {
  const { desk, startWorker } = stage
  const first = await startWorker(orders)
  const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
  await desk.tokens(jobId, 20)
  first.kill('SIGKILL')
  const killedAtMs = performance.now()
  await first.exited
  const saidBefore = desk.live(jobId).length
  await startWorker(orders)
  await desk.heard(jobId, ({ sequence, entry }) => sequence > saidBefore && entry.kind === 'token')
  const goesOnAfterMs = (desk.arrivals(jobId)[saidBefore + 1] ?? Infinity) - killedAtMs
  await desk.end(jobId)
  return { goesOnAfterMs, ...checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId))) }
}

describe('a worker killed in mid-answer', () => {
  it('delays the answer by no more than the takeover budget; no token comes twice, none is missing', async () => {
    stage = await openFaultStage({ isShort: false })
    const { goesOnAfterMs, tokenIds, end } = await killInMidAnswer({})
    expect(tokenIds).toEqual(fakeAnswer(7n, answerTokens))
    expect(end.status).toBe('incomplete')
    expect(goesOnAfterMs).toBeLessThan(takeoverBudgetMs)
  }, 40_000)

  it('breaks the answer where nobody resumes from the log (negative control)', async () => {
    stage = await openFaultStage()
    const { desk, startWorker } = stage
    const orders = { isResuming: false }
    const first = await startWorker(orders)
    const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
    await desk.tokens(jobId, 20)
    first.kill('SIGKILL')
    await startWorker(orders)
    await desk.end(jobId)
    const { tokenIds, end } = checkHistory(await readHistory(desk.redis, jobId))
    expect(tokenIds).not.toEqual(fakeAnswer(7n, answerTokens))
    expect(end).toMatchObject({ status: 'failed', error: { code: 'worker_failed' } })
  }, 40_000)
})

describe('a worker killed at any point of an answer', () => {
  it.each([
    ['before its first token', ({ entry }: LogEvent) => entry.kind === 'start'],
    ['after its first token', ({ entry }: LogEvent) => entry.kind === 'token'],
    ['at its last token', ({ entry }: LogEvent) => entry.kind === 'token' && entry.index === answerTokens - 1],
    ['at its end, before BullMQ knows', ({ entry }: LogEvent) => entry.kind === 'end'],
  ])(
    '%s: one whole answer, billed once, and nothing left in the queue',
    async (_when, isTime) => {
      stage = await openFaultStage()
      const { desk, startWorker } = stage
      const first = await startWorker()
      const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
      await desk.heard(jobId, isTime)
      first.kill('SIGKILL')
      await first.exited
      await startWorker()
      await desk.end(jobId)
      const { tokenIds } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
      expect(tokenIds).toEqual(fakeAnswer(7n, answerTokens))
      await expect.poll(() => desk.redis.keys('*:bull:lane-0:0*'), { timeout: 5_000 }).toEqual([])
    },
    20_000,
  )
})
