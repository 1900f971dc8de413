/** Redis killed under load and started again: no admitted job is lost, answers go on, workers come back by themselves. */
import { afterEach, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { fakeAnswer, type FaultStage, openFaultStage } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const answerTokens = 100
const seeds = [1n, 2n, 3n, 4n]
let stage: FaultStage

afterEach(() => stage.close())

describe('Redis killed and started again', () => {
  it('costs no job and no token, and no worker', async () => {
    stage = await openFaultStage()
    const { desk, server, startWorker } = stage
    const worker = await startWorker()
    const jobs = await Promise.all(seeds.map((seed) => desk.ask({ seed, request: { maxTokens: answerTokens } })))
    await Promise.all(jobs.map((jobId) => desk.tokens(jobId, 15)))
    await server.kill()
    await server.start()
    const statuses = () => Promise.all(jobs.map((jobId) => desk.redis.hget(keys.job(jobId), 'status')))
    await expect.poll(statuses, { timeout: 20_000 }).toEqual(jobs.map(() => 'incomplete'))
    for (const [position, jobId] of jobs.entries()) {
      const { tokenIds } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
      expect(tokenIds).toEqual(fakeAnswer(seeds[position] ?? 0n, answerTokens))
    }
    expect(worker.hasExited()).toBe(false)
    expect(worker.log.filter(({ msg }) => msg === 'lost Redis').length).toBeLessThanOrEqual(3)
  })
})
