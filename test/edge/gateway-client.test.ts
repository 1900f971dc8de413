/** The real bundle in real workerd over a real Redis: clients that ask again, and clients that leave. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { keys } from '../../contract/keys.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { startTestEdge, testPepper, type TestEdge } from '../fixtures/edge.ts'
import { readAll, readEvents, take, textOf } from '../fixtures/event-stream.ts'
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

const repeated = (key: string, headers: Record<string, string> = {}) => ({
  headers: { 'idempotency-key': key, ...headers },
})

/** @returns its Authorization header. */
async function newTenant(): Promise<string> {
  const key = newKey('live', randomBytes)
  await edge.database.batch([
    edge.database.prepare(`INSERT INTO tenants (id, name, created_at_ms) VALUES ('tenant-other', 'Other', 0)`),
    edge.database
      .prepare(
        `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
         VALUES (?, 'tenant-other', 'live', 'test', ?, 'p1', '["inference"]', 0)`,
      )
      .bind(parseKey(key)?.id, keyDigest(key, testPepper)),
  ])
  return `Bearer ${key}`
}

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

describe('a repeated request', () => {
  it('joins the job it names, late, and gets the same bytes; after Last-Event-ID exactly the rest', async () => {
    const first = edge.chat(streamed, repeated('join'))
    const job = await worker.next()
    await job.start()
    await job.say('A')
    await job.say('B')
    const late = edge.chat(streamed, repeated('join'))
    const lateEvents = readEvents(await late)
    expect(textOf([await take(lateEvents), await take(lateEvents), await take(lateEvents)])).toBe('AB')
    await job.say('C')
    expect(textOf([await take(lateEvents)])).toBe('C')
    await job.end()
    await lateEvents.return(undefined)

    const whole = await readAll(await first)
    expect(await readAll(await edge.chat(streamed, repeated('join')))).toEqual(whole)
    for (let seen = 0; seen < whole.length - 1; seen++) {
      const rest = await edge.chat(streamed, repeated('join', { 'last-event-id': whole[seen]?.id ?? '' }))
      expect(await readAll(rest)).toEqual(whole.slice(seen + 1))
    }
  })

  it('that was answered whole is answered whole again, by one job', async () => {
    const answers = Promise.all(Array.from({ length: 8 }, () => edge.chat(chat, repeated('once'))))
    const job = await worker.next()
    await job.answer(['only'])
    const responses = await answers
    const bodies = await Promise.all(responses.map((response) => response.text()))
    expect(new Set(bodies).size).toBe(1)
    // One of them was admitted and counted; the others say that they repeat it.
    expect(responses.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(7)
    expect(responses.filter(({ headers }) => headers.has('x-ratelimit-remaining-tokens'))).toHaveLength(1)
    expect(bodies[0]).toContain(job.record.id)
  })

  it('with another body is 422, whatever the order of its keys it is the same body', async () => {
    const first = edge.chat(chat, repeated('body'))
    const job = await worker.next()
    await job.answer(['x'])
    expect((await first).status).toBe(200)
    const reordered = { messages: chat.messages, model: chat.model }
    expect((await edge.chat(reordered, repeated('body'))).status).toBe(200)
    const other = await edge.chat({ ...chat, temperature: 1 }, repeated('body'))
    expect(other.status).toBe(422)
    expect(await other.json()).toMatchObject({ error: { code: 'idempotency_key_reused' } })
  })

  const bad: [string, Record<string, string>, number][] = [
    ['a Last-Event-ID beyond the log', { 'idempotency-key': 'once', 'last-event-id': '99' }, 400],
    ['a negative Last-Event-ID', { 'idempotency-key': 'once', 'last-event-id': '-1' }, 400],
    ['a Last-Event-ID that is no number', { 'idempotency-key': 'once', 'last-event-id': 'abc' }, 400],
    ['a Last-Event-ID without a key', { 'last-event-id': '1' }, 400],
    ['a Last-Event-ID of a key never used', { 'idempotency-key': 'never', 'last-event-id': '1' }, 404],
    ['an empty key', { 'idempotency-key': '' }, 400],
    ['a key of 256 characters', { 'idempotency-key': 'k'.repeat(256) }, 400],
    ['a key with a space', { 'idempotency-key': 'a b' }, 400],
  ]
  it.each(bad)('with %s is refused and starts no job', async (_name, headers, status) => {
    const openBefore = await worker.redis.zcard(keys.open)
    expect((await edge.chat(chat, { headers })).status).toBe(status)
    expect(await worker.redis.zcard(keys.open)).toBe(openBefore)
  })
})

describe('another tenant', () => {
  it('I8: neither joins nor reads a job by its Idempotency-Key, and is told what a stranger to it is told', async () => {
    const headers = { 'idempotency-key': 'shared', authorization: await newTenant() }
    const first = edge.chat(streamed, repeated('shared'))
    const job = await worker.next()
    await job.answer(['mine'])
    expect(textOf((await readAll(await first)).slice(0, 2))).toBe('mine')

    const resumed = await edge.chat(streamed, { headers: { ...headers, 'last-event-id': '1' } })
    const unknown = await edge.chat(streamed, repeated('never', { 'last-event-id': '1' }))
    expect([resumed.status, await resumed.text()]).toEqual([404, await unknown.text()])

    const second = edge.chat({ ...streamed, temperature: 1 }, { headers })
    const own = await worker.next()
    expect(own.record.tenantId).toBe('tenant-other')
    await own.answer(['theirs'])
    expect(textOf((await readAll(await second)).slice(0, 2))).toBe('theirs')
  })
})

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
