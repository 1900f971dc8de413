/** Case 45: crowds. Of streams that lose their gateway at once, and of one tenant's requests beside another's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adminBench } from '../fixtures/admin-bench.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { newTenant } from '../fixtures/tenants.ts'
import { herd } from '../prove/herd.ts'

const bench = adminBench()
const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const share = 50
const burst = 10 * share
const askedBeside = 100
/** Generous: a machine that runs other tests answers all of it. What fairness keeps of a wait is `prove fairness`. */
const firstTokenBudgetMs = 5_000
let worker: ScriptedWorker

beforeAll(async () => {
  worker = await startScriptedWorker(bench.redis, 2)
  void work()
}, 60_000)
afterAll(() => worker.stop())

async function work(): Promise<never> {
  for (;;) await (await worker.next()).answer(['hi'])
}

describe('case 45: a herd', () => {
  it('case 45: of streams that lost their gateway comes back spread, is let in, and asks little of Redis', async () => {
    await expect(herd({ full: false })).resolves.toBeUndefined()
  }, 200_000)

  it('case 45: of one tenant, ten times what it may, is told when to come back; another is answered meanwhile', async () => {
    const greedy = await newTenant(bench, { limits: { max_requests_per_1_minute: share } })
    const modest = await newTenant(bench)
    const crowd = Promise.all(Array.from({ length: burst }, () => greedy.chat(chat)))
    const waitsMs: number[] = []
    for (let asked = 0; asked < askedBeside; asked++) {
      const askedAtMs = performance.now()
      const answer = await modest.chat({ ...chat, stream: true })
      expect(answer.status).toBe(200)
      await answer.body?.getReader().read()
      waitsMs.push(performance.now() - askedAtMs)
    }
    const answers = await crowd
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(burst - share)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(share)
    for (const { headers } of refused) {
      const retryAfterMs = Number(headers.get('retry-after-ms'))
      expect(retryAfterMs).toBeGreaterThan(0)
      expect(retryAfterMs).toBeLessThanOrEqual(61_000)
      const retryAfterSeconds = Number(headers.get('retry-after'))
      expect(retryAfterSeconds).toBeGreaterThanOrEqual(retryAfterMs / 1_000)
      expect(retryAfterSeconds).toBeLessThan(retryAfterMs / 1_000 + 2)
    }
    const p99 = waitsMs.sort((one, other) => one - other)[Math.ceil(0.99 * askedBeside) - 1]
    expect(p99).toBeLessThan(firstTokenBudgetMs)
  })
})
