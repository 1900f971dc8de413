/** Worker processes whose whole wall clock is wrong, each another way: locks, takeovers and ends follow Redis's. */
import { afterEach, describe, expect, it } from 'vitest'
import { takeoverBudgetMs } from '../../contract/limits.ts'
import { fakeAnswer, type FaultStage, openFaultStage } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const tenMinutesMs = 600_000
const answerTokens = 40
/** Of an answer that lasts until another worker has started. */
const longAnswerTokens = 400
let stage: FaultStage

afterEach(() => stage.close())

describe('case 42: workers ten minutes ahead and ten minutes behind', () => {
  it('answer side by side: no lock is lost early, no job is taken over or expires', async () => {
    stage = await openFaultStage()
    const { desk, startWorker } = stage
    await startWorker({ clockErrorMs: tenMinutesMs })
    await startWorker({ clockErrorMs: -tenMinutesMs })
    const seeds = Array.from({ length: 40 }, (_, position) => BigInt(position))
    const jobs = await Promise.all(seeds.map((seed) => desk.ask({ seed, request: { maxTokens: answerTokens } })))
    for (const [position, jobId] of jobs.entries()) {
      await desk.end(jobId)
      const { tokenIds, end } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
      expect(tokenIds).toEqual(fakeAnswer(seeds[position] ?? 0n, answerTokens))
      expect(end.status).toBe('incomplete')
      expect(desk.live(jobId).filter(({ entry }) => entry.kind === 'start')).toHaveLength(1)
    }
  }, 40_000)

  it.each([
    ['ahead', tenMinutesMs],
    ['behind', -tenMinutesMs],
  ])(
    'take over from each other in time when the one %s is killed',
    async (_which, clockErrorMs) => {
      stage = await openFaultStage({ isShort: false })
      const { desk, startWorker } = stage
      const first = await startWorker({ clockErrorMs })
      const jobId = await desk.ask({ request: { maxTokens: longAnswerTokens } })
      await startWorker({ clockErrorMs: -clockErrorMs })
      const saidBefore = desk.live(jobId).length
      first.kill('SIGKILL')
      const killedAtMs = performance.now()
      await desk.heard(jobId, ({ sequence, entry }) => sequence > saidBefore && entry.kind === 'start')
      expect(performance.now() - killedAtMs).toBeLessThan(takeoverBudgetMs)
      await desk.end(jobId)
      const { tokenIds } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
      expect(tokenIds).toEqual(fakeAnswer(7n, longAnswerTokens))
    },
    40_000,
  )
})
