/**
 * A request under an Idempotency-Key, sent again in every way clients do: one job, one bill, the same answer. The real
 * bundle in real workerd over a real Redis.
 */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseJobId, type JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { idempotencyKeyCharsMax, idempotencyTtlMs } from '../../contract/limits.ts'
import { adminBench } from '../fixtures/admin-bench.ts'
import { startCutProxy } from '../fixtures/cut-proxy.ts'
import { startTestEdge } from '../fixtures/edge.ts'
import { readAll, readEvents, take, textOf } from '../fixtures/event-stream.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { newTenant } from '../fixtures/tenants.ts'

const bench = adminBench()
const ask = (body: object, init: RequestInit = {}) => bench.edge.chat(body, init)
let worker: ScriptedWorker

beforeAll(async () => {
  worker = await startScriptedWorker(bench.redis, 2)
}, 60_000)
afterAll(() => worker.stop())

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const streamed = { ...chat, stream: true }
const repeated = (key: string, headers: Record<string, string> = {}) => ({
  headers: { 'idempotency-key': key, ...headers },
})

async function jobIdOf(response: Response): Promise<JobId> {
  const { id }: { id: string } = await response.json()
  const jobId = parseJobId(id.replace('chatcmpl-', ''))
  if (jobId === null) throw new Error(`${id} names no job`)
  return jobId
}

/** Bills of one job. */
async function billsOf(jobId: JobId): Promise<number> {
  const rows = await worker.redis.xrange(keys.usage, '-', '+')
  return rows.filter(([, flat]) => flat.includes(jobId)).length
}

function isReplayed(response: Response): boolean {
  return response.headers.get('idempotent-replayed') === 'true'
}

describe('case 29: the same key and body again', () => {
  it('after success is the same answer, by no other job, kept for 24 hours; then it is a new job', async () => {
    const first = ask(chat, repeated('day'))
    const job = await worker.next()
    await job.answer(['only'])
    const original = await first
    const again = await ask(chat, repeated('day'))
    expect([isReplayed(original), isReplayed(again)]).toEqual([false, true])
    expect(again.headers.get('x-axle-mode')).toBe(original.headers.get('x-axle-mode'))
    expect(await again.text()).toBe(await original.text())
    expect(await billsOf(job.record.id)).toBe(1)

    const slots = await worker.redis.keys('{axle}:idempotency:*')
    const kept = [...slots, keys.job(job.record.id), keys.log(job.record.id)]
    expect(slots).toHaveLength(1)
    for (const key of kept) {
      const ttlMs = await worker.redis.pttl(key)
      expect(ttlMs).toBeLessThanOrEqual(idempotencyTtlMs)
      expect(ttlMs).toBeGreaterThan(idempotencyTtlMs - 60_000)
    }
    for (const key of kept) await worker.redis.pexpire(key, 1)
    await expect.poll(() => worker.redis.exists(...kept)).toBe(0)
    const next = ask(chat, repeated('day'))
    const other = await worker.next()
    expect(other.record.id).not.toBe(job.record.id)
    await other.answer(['new'])
    expect(isReplayed(await next)).toBe(false)
  })

  it('after a 500 is that 500, and no client is told to try it again', async () => {
    const first = ask(chat, repeated('broken'))
    const job = await worker.next()
    await job.start()
    const error = { code: 'model_error', message: 'Broke.', param: null } as const
    await job.end({ status: 'failed', finishReasons: [], error })
    const answers = [await first, await ask(chat, repeated('broken'))]
    expect(answers.map(({ status }) => status)).toEqual([500, 500])
    expect(answers.map((answer) => answer.headers.get('x-should-retry'))).toEqual(['false', 'false'])
    expect(answers.map(isReplayed)).toEqual([false, true])
    // The failure, too, was admitted and counted.
    expect(answers[0]?.headers.has('x-ratelimit-remaining-requests')).toBe(true)
    const [original, replay] = await Promise.all(answers.map((answer) => answer.text()))
    expect(replay).toBe(original)
  })

  it('after a refusal is judged anew: nothing was begun', async () => {
    const tenant = await newTenant(bench, { limits: { max_concurrent_requests: 1 } })
    const running = tenant.chat(chat)
    const job = await worker.next()
    const refused = await tenant.chat(chat, repeated('later'))
    expect(refused.status).toBe(429)
    await job.answer(['x'])
    await running
    const admitted = tenant.chat(chat, repeated('later'))
    await (await worker.next()).answer(['y'])
    expect(isReplayed(await admitted)).toBe(false)
  })

  it('as a stream comes again from the log, byte for byte; after Last-Event-ID exactly the rest', async () => {
    const first = ask(streamed, repeated('join'))
    const job = await worker.next()
    await job.start()
    await job.say('A')
    await job.say('B')
    const late = ask(streamed, repeated('join'))
    const lateEvents = readEvents(await late)
    expect(textOf([await take(lateEvents), await take(lateEvents), await take(lateEvents)])).toBe('AB')
    await job.say('C')
    expect(textOf([await take(lateEvents)])).toBe('C')
    await job.end()
    await lateEvents.return(undefined)

    const whole = await readAll(await first)
    const replay = await ask(streamed, repeated('join'))
    expect(isReplayed(replay)).toBe(true)
    expect(await readAll(replay)).toEqual(whole)
    for (let seen = 0; seen < whole.length - 1; seen++) {
      const rest = await ask(streamed, repeated('join', { 'last-event-id': whole[seen]?.id ?? '' }))
      expect(await readAll(rest)).toEqual(whole.slice(seen + 1))
    }
    expect(await billsOf(job.record.id)).toBe(1)
  })
})

describe('case 30: the same key', () => {
  it('with another body is 422, whatever the order of its keys it is the same body', async () => {
    const first = ask(chat, repeated('body'))
    await (await worker.next()).answer(['x'])
    expect((await first).status).toBe(200)
    const reordered = { messages: chat.messages, model: chat.model }
    expect((await ask(reordered, repeated('body'))).status).toBe(200)
    for (const other of [{ ...chat, temperature: 1 }, streamed, { ...chat, service_tier: 'flex' }]) {
      const refused = await ask(other, repeated('body'))
      expect(refused.status).toBe(422)
      expect(refused.headers.get('x-should-retry')).toBe('false')
      expect(await refused.json()).toMatchObject({ error: { code: 'idempotency_key_reused' } })
    }
  })

  const longest = 'k'.repeat(idempotencyKeyCharsMax)
  const bad: [string, Record<string, string>, number][] = [
    ['a Last-Event-ID beyond the log', { 'idempotency-key': 'body', 'last-event-id': '99' }, 400],
    ['a negative Last-Event-ID', { 'idempotency-key': 'body', 'last-event-id': '-1' }, 400],
    ['a Last-Event-ID that is no number', { 'idempotency-key': 'body', 'last-event-id': 'abc' }, 400],
    ['a Last-Event-ID without a key', { 'last-event-id': '1' }, 400],
    ['a Last-Event-ID of a key never used', { 'idempotency-key': 'never', 'last-event-id': '1' }, 404],
    ['an empty key', { 'idempotency-key': '' }, 400],
    ['a key of 256 characters', { 'idempotency-key': `${longest}k` }, 400],
    ['a key with a space', { 'idempotency-key': 'a b' }, 400],
    ['a key with a tab', { 'idempotency-key': 'a\tb' }, 400],
    ['a key beyond ASCII', { 'idempotency-key': 'ÿ' }, 400],
  ]
  it.each(bad)('with %s is refused and starts no job', async (_name, headers, status) => {
    const openBefore = await worker.redis.zcard(keys.open)
    expect((await ask(chat, { headers })).status).toBe(status)
    expect(await worker.redis.zcard(keys.open)).toBe(openBefore)
  })

  it('of 255 characters is one', async () => {
    const first = ask(chat, repeated(longest))
    await (await worker.next()).answer(['x'])
    expect((await first).status).toBe(200)
    expect(isReplayed(await ask(chat, repeated(longest)))).toBe(true)
  })
})

it('case 31: the same key a hundred times at once is one job, one bill, one answer for all', async () => {
  const answers = Promise.all(Array.from({ length: 100 }, () => ask(chat, repeated('crowd'))))
  const job = await worker.next()
  await job.answer(['only'])
  const responses = await answers
  const bodies = await Promise.all(responses.map((response) => response.text()))
  expect(responses.map(({ status }) => status).filter((status) => status !== 200)).toEqual([])
  expect(new Set(bodies).size).toBe(1)
  expect(bodies[0]).toContain(job.record.id)
  // One of them was admitted and counted; the others say that they repeat it, and as it does what is left.
  expect(responses.filter(isReplayed)).toHaveLength(99)
  expect(new Set(responses.map(({ headers }) => headers.get('x-ratelimit-remaining-requests')))).toEqual(
    new Set([responses.find((response) => !isReplayed(response))?.headers.get('x-ratelimit-remaining-requests')]),
  )
  expect(await billsOf(job.record.id)).toBe(1)
})

describe('case 32: between the enqueue and the answer', () => {
  it('the client times out: asked again, it gets the same job', async () => {
    const leaving = new AbortController()
    const first = ask(chat, { ...repeated('patience'), signal: leaving.signal }).catch(() => null)
    const job = await worker.next()
    leaving.abort()
    await first
    const again = ask(chat, repeated('patience'))
    await job.answer(['here'])
    expect(await jobIdOf(await again)).toBe(job.record.id)
    expect(await billsOf(job.record.id)).toBe(1)
  })

  it('the gateway dies: another one gives the same job', async () => {
    const dying = await startTestEdge(bench.redis.url)
    const first = dying.chat(chat, repeated('moved')).catch(() => null)
    const job = await worker.next()
    await dying.stop()
    await first
    const again = ask(chat, repeated('moved'))
    await job.answer(['still'])
    expect(await jobIdOf(await again)).toBe(job.record.id)
    expect(await billsOf(job.record.id)).toBe(1)
  })

  it('the answer is lost on its way: OpenAI’s SDK asks again by itself and is billed once', async () => {
    const proxy = await startCutProxy(Number(new URL(bench.edge.url).port))
    try {
      const apiKey = bench.edge.tenantKey
      const client = new OpenAI({ baseURL: `http://127.0.0.1:${proxy.port}/v1`, apiKey, maxRetries: 2 })
      const isCut = proxy.cutReplyTo('POST /v1/chat/completions', 1_000)
      const request = { model: testModel.id, messages: [{ role: 'user' as const, content: 'hi' }] }
      const answer = client.chat.completions.create(request, { headers: { 'idempotency-key': 'sdk' } }).withResponse()
      const job = await worker.next()
      await job.answer(['paid', ' once'])
      await isCut
      const { data, response } = await answer
      expect(data.choices[0]?.message.content).toBe('paid once')
      expect(data.id).toBe(`chatcmpl-${job.record.id}`)
      expect(isReplayed(response)).toBe(true)
      expect(await billsOf(job.record.id)).toBe(1)
    } finally {
      await proxy.stop()
    }
  })
})

describe('case 11: what one tenant chose, another may choose too', () => {
  it('X-Request-Id, traceparent and Idempotency-Key used by two at once name two jobs, each its own', async () => {
    const other = await newTenant(bench)
    const headers = {
      'x-request-id': 'shared',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'idempotency-key': 'shared',
    }
    const [mine, theirs] = [ask(streamed, { headers }), other.chat(streamed, { headers })]
    const jobs = [await worker.next(), await worker.next()]
    expect(new Set(jobs.map(({ record }) => record.tenantId))).toEqual(new Set(['tenant-local', other.id]))
    await Promise.all(jobs.map((job) => job.answer([job.record.tenantId])))
    const responses = await Promise.all([mine, theirs])
    expect(responses.map(isReplayed)).toEqual([false, false])
    expect(new Set(responses.map((response) => response.headers.get('x-request-id'))).size).toBe(2)
    const texts = await Promise.all(responses.map(async (response) => textOf((await readAll(response)).slice(0, 2))))
    expect(texts).toEqual(['tenant-local', other.id])
  })

  it('I8: a stranger neither joins nor reads a job by its key, and is told what a random key is told', async () => {
    const other = await newTenant(bench)
    const first = ask(streamed, repeated('mine'))
    await (await worker.next()).answer(['mine'])
    expect(textOf((await readAll(await first)).slice(0, 2))).toBe('mine')

    const resumed = await other.chat(streamed, repeated('mine', { 'last-event-id': '1' }))
    const unknown = await ask(streamed, repeated('never', { 'last-event-id': '1' }))
    expect([resumed.status, await resumed.text()]).toEqual([404, await unknown.text()])

    const second = other.chat({ ...streamed, temperature: 1 }, repeated('mine'))
    const own = await worker.next()
    expect(own.record.tenantId).toBe(other.id)
    await own.answer(['theirs'])
    expect(textOf((await readAll(await second)).slice(0, 2))).toBe('theirs')
  })
})

it('a stream says when to come back, each job in its own moment', async () => {
  const retries: number[] = []
  for (let i = 0; i < 8; i++) {
    const answer = ask(streamed)
    await (await worker.next()).answer(['x'])
    const text = await (await answer).text()
    retries.push(Number(/^retry: (\d{4})\n(id|data|:)/.exec(text)?.[1]))
  }
  expect(Math.min(...retries)).toBeGreaterThanOrEqual(1_000)
  expect(Math.max(...retries)).toBeLessThan(5_000)
  expect(new Set(retries).size).toBeGreaterThan(1)
})
