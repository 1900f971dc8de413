/** The real bundle in real workerd over a real Redis: clients that leave. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { readEvents, take, textOf } from '../fixtures/event-stream.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'

const laneCount = 2
const dropBudgetMs = 3_000
let redis: TestRedis
let edge: TestEdge
let worker: ScriptedWorker

beforeAll(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url, { laneCount })
  worker = await startScriptedWorker(redis, laneCount)
}, 60_000)
afterAll(async () => {
  await worker.stop()
  await edge.stop()
  await redis.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const streamed = { ...chat, stream: true }

/** As an engine does: a token now and then, until it is told to stop. */
async function keepSaying(say: (text: string) => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await say('y')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** How long after a client left in mid-answer the worker is told to stop. */
async function leaves(body: object, isStream: boolean): Promise<number> {
  const leaving = new AbortController()
  const answer = edge.chat(body, { signal: leaving.signal })
  const job = await worker.next()
  await job.start()
  if (isStream) {
    const events = readEvents(await answer)
    await take(events)
    await job.say('x')
    await take(events)
  }
  const outcome = answer.catch(() => null)
  const leftAtMs = performance.now()
  leaving.abort()
  const producing = new AbortController()
  const tokens = isStream ? keepSaying(job.say.bind(job), producing.signal) : Promise.resolve()
  await worker.cancelled(job.record.id)
  const elapsedMs = performance.now() - leftAtMs
  producing.abort()
  await tokens
  await outcome
  await job.end({ status: 'cancelled', finishReasons: [] })
  return elapsedMs
}

describe('a client that leaves', () => {
  it('ends its streamed job within the budget', async () => {
    expect(await leaves(streamed, true)).toBeLessThan(dropBudgetMs)
  })

  it('ends its unstreamed job within the budget', async () => {
    expect(await leaves(chat, false)).toBeLessThan(dropBudgetMs)
  })

  it('ends its job also when its stream has not had a token yet', async () => {
    expect(await leaves(streamed, false)).toBeLessThan(dropBudgetMs)
  })

  it('with an Idempotency-Key leaves a job that goes on and can be joined again', async () => {
    const leaving = new AbortController()
    const init = { headers: { 'idempotency-key': 'come-back' } }
    const answer = edge.chat(streamed, { ...init, signal: leaving.signal })
    const job = await worker.next()
    await job.start()
    const events = readEvents(await answer)
    const seen = await take(events)
    leaving.abort()
    await job.say('A')
    await job.say('B')
    const headers = { ...init.headers, 'last-event-id': seen.id ?? '' }
    const back = edge.chat(streamed, { headers })
    const rest = readEvents(await back)
    expect(textOf([await take(rest), await take(rest)])).toBe('AB')
    await job.end()
    expect(await worker.redis.hget(keys.job(job.record.id), 'cancel')).toBe('0')
  })
})
