/** Limits as a client meets them: headers by a hand count, refusals that say when to return, and no minute with too much in it. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseJobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { windowMs } from '../../contract/limits.ts'
import { decodeUsageRow } from '../../edge/usage/usage-row.ts'
import { adminBench } from '../fixtures/admin-bench.ts'
import { dice } from '../fixtures/dice.ts'
import { answerAll, startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { newTenant, type Tenant } from '../fixtures/tenants.ts'

/** The template's allowance for one message, and the two bytes of `hi`. */
const promptTokensMax = 64 + 16 + 2
/** As the scripted worker counts every prompt. */
const promptTokens = 7
const bench = adminBench()
let worker: ScriptedWorker

beforeAll(async () => {
  worker = await startScriptedWorker(bench.redis, 2)
}, 60_000)
afterAll(() => worker.stop())

const chatOf = (answerTokens: number) => ({
  model: testModel.id,
  messages: [{ role: 'user', content: 'hi' }],
  max_completion_tokens: answerTokens,
})

/** Numbers of the rate headers, and how long until all is back in seconds. */
function rateOf({ headers }: Response) {
  const number = (name: string) => Number(headers.get(`x-ratelimit-${name}`) ?? Number.NaN)
  return {
    limits: [number('limit-requests'), number('limit-tokens')],
    remaining: [number('remaining-requests'), number('remaining-tokens')],
    resets: [headers.get('x-ratelimit-reset-requests'), headers.get('x-ratelimit-reset-tokens')],
  }
}

async function codeOf(response: Response): Promise<string> {
  const { error }: { error: { code: string } } = await response.json()
  return error.code
}

async function ask(tenant: Tenant, answerTokens: number, said: readonly string[]): Promise<Response> {
  const answer = tenant.chat(chatOf(answerTokens))
  await (await worker.next()).answer(said)
  return answer
}

describe('x-ratelimit-*', () => {
  it('tells what is left as a hand count does: the worst case while a request runs, what it used when it ended', async () => {
    const tenant = await newTenant(bench, { limits: { max_requests_per_1_minute: 5, max_tokens_per_1_minute: 1_000 } })
    const first = await ask(tenant, 100, ['a', 'b'])
    expect(rateOf(first)).toMatchObject({ limits: [5, 1_000], remaining: [4, 1_000 - promptTokensMax - 100] })
    const used = promptTokens + 2
    const second = await ask(tenant, 50, ['c'])
    expect(rateOf(second).remaining).toEqual([3, 1_000 - used - promptTokensMax - 50])
    // What is left is back a minute and at most a second after the last.
    for (const reset of rateOf(second).resets) expect(reset).toMatch(/^(59\.\d+s|1m0(\.\d+)?s)$/)

    const streamed = tenant.chat({ ...chatOf(10), stream: true })
    await (await worker.next()).answer(['d'])
    expect(rateOf(await streamed).remaining).toEqual([2, 1_000 - used - (promptTokens + 1) - promptTokensMax - 10])
    const failing = tenant.chat(chatOf(1))
    await (await worker.next()).end({ status: 'failed', finishReasons: [], error: null })
    const failed = await failing
    expect([failed.status, rateOf(failed).remaining[0]]).toEqual([500, 1])
  })

  it('are on refusals, with a Retry-After that is true: a second before it, no; then, yes', async () => {
    const tenant = await newTenant(bench, { limits: { max_requests_per_1_minute: 1 } })
    await ask(tenant, 1, ['x'])
    const refused = await tenant.chat(chatOf(1))
    expect([refused.status, await codeOf(refused)]).toEqual([429, 'rate_limit_exceeded'])
    expect(refused.headers.get('x-should-retry')).toBe('true')
    expect(rateOf(refused)).toMatchObject({ limits: [1, 1_000_000], remaining: [0, 1_000_000 - promptTokens - 1] })
    const retryAfterMs = Number(refused.headers.get('retry-after')) * 1_000
    try {
      await worker.redis.set(keys.clockOffset, retryAfterMs - 2_000)
      expect((await tenant.chat(chatOf(1))).status).toBe(429)
      await worker.redis.set(keys.clockOffset, retryAfterMs)
      expect((await ask(tenant, 1, ['y'])).status).toBe(200)
    } finally {
      await worker.redis.del(keys.clockOffset)
    }
  })
})

describe('a limit', () => {
  it('smaller than the request can never let it pass: said at once, with both ways out, and no retry', async () => {
    const tenant = await newTenant(bench, { limits: { max_tokens_per_1_minute: promptTokensMax + 9 } })
    const refused = await tenant.chat(chatOf(10))
    expect([refused.status, refused.headers.get('x-should-retry'), refused.headers.get('retry-after')]).toEqual([
      429,
      'false',
      null,
    ])
    const { error }: { error: { code: string; message: string } } = await refused.json()
    expect(error.code).toBe('rate_limit_exceeded')
    expect(error.message).toContain(String(promptTokensMax + 9))
    expect(error.message).toContain('max_completion_tokens')
    expect((await ask(tenant, 9, ['x'])).status).toBe(200)
  })

  it.each(['max_requests_per_1_minute', 'max_concurrent_requests', 'max_queued_requests'])(
    'of nothing (%s) lets nothing pass, and asks for no retry',
    async (name) => {
      const tenant = await newTenant(bench, { limits: { [name]: 0 } })
      const refused = await tenant.chat(chatOf(1))
      expect([refused.status, await codeOf(refused)]).toEqual([429, 'rate_limit_exceeded'])
      expect([refused.headers.get('x-should-retry'), refused.headers.get('retry-after')]).toEqual(['false', null])
    },
  )

  it('of concurrent requests stops the third of three, and lets it in when there is room', async () => {
    const tenant = await newTenant(bench, { limits: { max_concurrent_requests: 2 } })
    const running = [tenant.chat(chatOf(1)), tenant.chat(chatOf(1))]
    const jobs = [await worker.next(), await worker.next()]
    await expectRefusal(tenant)
    for (const job of jobs) await job.answer(['x'])
    for (const answer of running) expect((await answer).status).toBe(200)
    expect((await ask(tenant, 1, ['x'])).status).toBe(200)
  })

  it.each([
    ['requests', { max_queued_requests: 2 }],
    ['tokens', { max_queued_tokens: 2 * (promptTokensMax + 1) }],
  ])('of queued %s stops the third of three, and lets it in when they were claimed', async (_name, limits) => {
    const tenant = await newTenant(bench, { limits })
    await worker.stop()
    const waiting = [tenant.chat(chatOf(1)), tenant.chat(chatOf(1))]
    await expect.poll(() => worker.redis.zcard(keys.open)).toBe(2)
    await expectRefusal(tenant)
    worker = await startScriptedWorker(bench.redis, 2)
    const jobs = [await worker.next(), await worker.next()]
    expect((await ask(tenant, 1, ['x'])).status).toBe(200)
    for (const job of jobs) await job.answer(['x'])
    for (const answer of waiting) expect((await answer).status).toBe(200)
  })
})

async function expectRefusal(tenant: Tenant): Promise<void> {
  const refused = await tenant.chat(chatOf(1))
  expect([refused.status, await codeOf(refused)]).toEqual([429, 'rate_limit_exceeded'])
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
}

it('16 clients at once: in no sliding 60 s of Redis time more requests or tokens than the limits', async () => {
  const limits = { requests: 40, tokens: 3_000 }
  const draw = dice(16)
  const tenant = await newTenant(bench, {
    limits: { max_requests_per_1_minute: limits.requests, max_tokens_per_1_minute: limits.tokens },
  })
  const over = new AbortController()
  void answerAll(worker, over.signal, ({ record }) =>
    Array.from({ length: draw(1, record.request.maxTokens ?? 1) }, () => 'x'),
  )
  const virtualMs = 5 * windowMs
  const time = { offsetMs: 0 }
  const jobIds: string[] = []
  const statuses = new Set<number>()

  async function client(): Promise<void> {
    while (time.offsetMs < virtualMs) {
      const response = await tenant.chat(chatOf(draw(1, 60)))
      const body: { id?: string } = await response.json()
      if (response.status === 200) jobIds.push((body.id ?? '').replace('chatcmpl-', ''))
      statuses.add(response.status)
    }
  }

  async function clock(): Promise<void> {
    while (time.offsetMs < virtualMs) {
      await delay(20)
      time.offsetMs += draw(0, 1_500)
      await worker.redis.set(keys.clockOffset, time.offsetMs)
    }
  }

  try {
    await Promise.all([clock(), ...Array.from({ length: 16 }, client)])
  } finally {
    await worker.redis.del(keys.clockOffset)
    over.abort()
  }
  expect(statuses).toEqual(new Set([200, 429]))
  const used = new Map<string, number>()
  for (const [streamId, flat] of await worker.redis.xrange(keys.usage, '-', '+')) {
    const row = decodeUsageRow(streamId, flat)
    used.set(row.jobId, row.inputTokens + row.outputTokens)
  }
  const log = await Promise.all(
    jobIds.map(async (id) => {
      const jobId = parseJobId(id)
      if (jobId === null) throw new Error(`${id} names no job`)
      return {
        atMs: Number(await worker.redis.hget(keys.job(jobId), 'admittedAtMs')),
        tokens: used.get(id) ?? Number.NaN,
      }
    }),
  )
  const minutes = log.map(({ atMs: fromMs }) => log.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + windowMs))
  const fullest = (sum: (minute: typeof log) => number) => Math.max(...minutes.map(sum))
  const requests = fullest((minute) => minute.length)
  const tokens = fullest((minute) => minute.reduce((sum, job) => sum + job.tokens, 0))
  expect(requests).toBeLessThanOrEqual(limits.requests)
  expect(tokens).toBeLessThanOrEqual(limits.tokens)
  // The clients did push: a limit was reached, in minute after minute.
  expect(requests).toBeGreaterThan(0.9 * limits.requests)
  expect(log.length).toBeGreaterThan(3 * limits.requests)
}, 120_000)
