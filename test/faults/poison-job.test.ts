/** A job that kills its worker every time: it gets four workers, then it fails, and its neighbours finish. */
import { afterEach, describe, expect, it } from 'vitest'
import { stalledCountMax } from '../../contract/limits.ts'
import type { FakeWorkerOrders } from '../fixtures/fake-gpu-worker.ts'
import { fakeAnswer, type FaultStage, openFaultStage, type WorkerProcess } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const neighbourSeeds = [1n, 2n, 3n]
const answerTokens = 40
const poisonSeed = 666n
const wholeAnswers = neighbourSeeds.map((seed) => fakeAnswer(seed, answerTokens))
let stage: FaultStage

afterEach(() => stage.close())

async function poison(orders: Partial<FakeWorkerOrders> = {}) {
  stage = await openFaultStage()
  const { desk, startWorker } = stage
  const request = { maxTokens: answerTokens }
  const neighbours = []
  for (const seed of neighbourSeeds) neighbours.push(await desk.ask({ seed, request }))
  const jobId = await desk.ask({ seed: poisonSeed, request })

  let deathCount = 0
  const over = new AbortController()
  const supervise = async () => {
    while (!over.signal.aborted) {
      const worker: WorkerProcess = await startWorker({ poisonSeed: `${poisonSeed}`, ...orders })
      await worker.exited
      if (!over.signal.aborted) deathCount += 1
    }
  }
  const supervised = supervise().catch(() => undefined) // `close` ends the last worker
  await Promise.all([jobId, ...neighbours].map((id) => desk.end(id, 50_000)))
  over.abort()
  const judge = async (id: typeof jobId) => checkHistory(await readHistory(desk.redis, id, desk.live(id)))
  const answers = await Promise.all(neighbours.map(judge))
  return { deathCount, poisoned: await judge(jobId), answers, supervised }
}

describe('case 41: a job that kills its worker every time', () => {
  it('fails after at most four deaths; its neighbours finish', async () => {
    const { deathCount, poisoned, answers } = await poison()
    expect(poisoned.end).toMatchObject({ status: 'failed', error: { code: 'worker_failed' } })
    expect(deathCount).toBeLessThanOrEqual(stalledCountMax + 1)
    expect(answers.map(({ tokenIds }) => tokenIds)).toEqual(wholeAnswers)
  }, 60_000)

  it('takes its neighbours with it where suspects do not run alone (negative control)', async () => {
    const story = await poison({ suspectStalledCount: 99 })
    expect(story.answers.map(({ tokenIds }) => tokenIds)).not.toEqual(wholeAnswers)
    expect(story.answers.some(({ end }) => end.status === 'failed')).toBe(true)
  }, 60_000)
})
