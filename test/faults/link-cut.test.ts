/** The link to Redis cut after an append was applied and before its reply: the retry must be harmless. */
import { afterEach, describe, expect, it } from 'vitest'
import { takeoverBudgetMs } from '../../contract/limits.ts'
import { type CutProxy, startCutProxy } from '../fixtures/cut-proxy.ts'
import type { FakeWorkerOrders } from '../fixtures/fake-gpu-worker.ts'
import { fakeAnswer, type FaultStage, openFaultStage, withoutProtection } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const answerTokens = 60
const cutTokens = [10, 25, 40]
/** Longer than the worker waits for a silent link. */
const silenceMs = 30_000
let stage: FaultStage
let proxy: CutProxy

afterEach(async () => {
  await stage.close()
  await proxy.stop()
})

async function cutWhileAppending(orders: Partial<FakeWorkerOrders> = {}) {
  stage = await openFaultStage()
  proxy = await startCutProxy(stage.server.port)
  const { desk, startWorker } = stage
  const worker = await startWorker({ redisUrl: `redis://127.0.0.1:${proxy.port}`, ...orders })
  let cut = proxy.cutReplyTo(`"index":${cutTokens[0]}`, 50)
  const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
  for (const [position, token] of cutTokens.entries()) {
    await cut
    // It was applied, though nobody told the worker.
    await desk.tokens(jobId, token + 1)
    const next = cutTokens[position + 1]
    if (next !== undefined) cut = proxy.cutReplyTo(`"index":${next}`, 50)
  }
  await desk.end(jobId)
  const refusals = worker.log.filter(({ msg }) => msg === 'append refused')
  return { refusals, history: await readHistory(desk.redis, jobId, desk.live(jobId)) }
}

describe('a lost reply to an append', () => {
  it('neither duplicates a token nor makes the worker fence itself', async () => {
    const { refusals, history } = await cutWhileAppending()
    expect(checkHistory(history).tokenIds).toEqual(fakeAnswer(7n, answerTokens))
    expect(refusals).toEqual([])
    expect(history.record['epoch']).toBe('1')
  }, 20_000)

  it('is not waited for for ever: a link that falls silent is replaced', async () => {
    stage = await openFaultStage()
    proxy = await startCutProxy(stage.server.port)
    const { desk, startWorker } = stage
    await startWorker({ redisUrl: `redis://127.0.0.1:${proxy.port}` })
    void proxy.cutReplyTo(`"index":${cutTokens[0]}`, silenceMs)
    const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
    await desk.end(jobId, takeoverBudgetMs)
    const history = await readHistory(desk.redis, jobId, desk.live(jobId))
    expect(checkHistory(history).tokenIds).toEqual(fakeAnswer(7n, answerTokens))
    expect(history.record['epoch']).toBe('1')
  }, 20_000)

  it('costs the worker its job where a repeated entry is a conflict (negative control)', async () => {
    const repeatedIsOk = `if #entry == 1 and entry[1][2][2] == ARGV[4] then return { 'ok', cancel } end`
    const scriptSources = withoutProtection([['append', repeatedIsOk, '']])
    const { refusals, history } = await cutWhileAppending({ scriptSources })
    expect(refusals[0]).toMatchObject({ code: 'conflict' })
    expect(Number(history.record['epoch'])).toBeGreaterThan(1)
  }, 30_000)
})
