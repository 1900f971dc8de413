/** The gateway without what it needs: no model, no worker, no Redis, a full cell, a lost job. Each is told, fast, and heals unaided. */
import type { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { keepAliveMs, keepAliveWaitingMs, openJobsMax } from '../../contract/limits.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { readAll, readEvents, textOf } from '../fixtures/event-stream.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { announce, startScriptedWorker, testModel } from '../fixtures/scripted-worker.ts'

const laneCount = 1
/** An outage must be told before a client's own patience ends. */
const failFastMs = 2_000
/** A server that neither answers nor hangs up is given up after this. */
const frozenMs = 5_000
const healMs = 5_000
/** An unstreamed request is silent for this long while it waits, and only a write shows that its client is gone. */
const goneWaitingMs = keepAliveMs + 3 * keepAliveWaitingMs
let redis: TestRedis
let edge: TestEdge

beforeEach(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url, { laneCount })
}, 60_000)
afterEach(async () => {
  await edge.stop()
  await redis.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const streamed = { ...chat, stream: true }

async function codeOf(response: Response): Promise<string> {
  const body: { error: { code: string } } = await response.json()
  return body.error.code
}

/** Polls as an operator's probe does. */
async function becomes(status: number, ask: () => Promise<Response>, withinMs = healMs): Promise<void> {
  const deadlineMs = performance.now() + withinMs
  for (;;) {
    const response = await ask()
    await response.text()
    if (response.status === status) return
    if (performance.now() > deadlineMs) throw new Error(`Still ${response.status} after ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('a primary that became a replica', () => {
  it('is not asked again on the same connection: the address may lead to another server now', async () => {
    const control = redis.connect()
    await announce(control)
    const single = await startTestEdge(redis.url, { laneCount, shardCount: 1 })
    try {
      expect((await single.send('/readyz')).status).toBe(200)
      await control.replicaof('127.0.0.1', 1)
      const before = await connectionsReceived(control)
      for (let i = 0; i < 2; i++) expect(await codeOf(await single.chat(chat))).toBe('queue_unavailable')
      expect(await connectionsReceived(control)).toBeGreaterThan(before)
    } finally {
      await single.stop()
    }
  })
})

async function connectionsReceived(control: Redis): Promise<number> {
  return Number(/total_connections_received:(\d+)/.exec(await control.info('stats'))?.[1])
}

describe('readiness', () => {
  it('is 503 until a live worker says it is ready; health never depends on it', async () => {
    expect((await edge.send('/healthz')).status).toBe(200)
    const before = await edge.send('/readyz')
    expect([before.status, await codeOf(before)]).toEqual([503, 'model_not_ready'])
    expect(await codeOf(await edge.chat(chat))).toBe('model_not_ready')
    expect(await (await edge.send('/v1/models')).json()).toEqual({ object: 'list', data: [] })

    const connection = redis.connect()
    await announce(connection, { isReady: false })
    await becomes(200, () => edge.send(`/v1/models/${testModel.id}`))
    expect((await edge.send('/readyz')).status).toBe(503)
    await announce(connection)
    await becomes(200, () => edge.send('/readyz'))
    await connection.del(keys.worker('scripted'))
    await becomes(503, () => edge.send('/readyz'))
  })
})

describe('Redis away', () => {
  it('is a fast 503 that names no secret, and ends by itself when Redis is back', async () => {
    const worker = await startScriptedWorker(redis, laneCount)
    await becomes(200, () => edge.send('/readyz'))
    await redis.kill()
    for (const ask of [() => edge.chat(chat), () => edge.chat(streamed)]) {
      const askedAtMs = performance.now()
      const response = await ask()
      expect([response.status, await codeOf(response)]).toEqual([503, 'queue_unavailable'])
      expect(response.headers.get('retry-after')).toBe('1')
      expect(performance.now() - askedAtMs).toBeLessThan(failFastMs)
    }
    await becomes(503, () => edge.send('/v1/models'))
    expect((await edge.send('/healthz')).status).toBe(200)
    await redis.start()
    await becomes(200, () => edge.send('/readyz'))
    const answer = edge.chat(chat)
    await (await worker.next()).answer(['back'])
    expect((await answer).status).toBe(200)
    await worker.stop()
  }, 30_000)

  it('frozen is a 503 within the deadline of a command, and ends by itself when it goes on', async () => {
    await announce(redis.connect())
    await becomes(200, () => edge.send('/readyz'))
    process.kill(redis.pid(), 'SIGSTOP')
    for (let i = 0; i < 2; i++) {
      const askedAtMs = performance.now()
      expect(await codeOf(await edge.chat(chat))).toBe('queue_unavailable')
      expect(performance.now() - askedAtMs).toBeLessThan(frozenMs)
    }
    process.kill(redis.pid(), 'SIGCONT')
    await becomes(200, () => edge.send('/readyz'))
  }, 30_000)

  it('in mid-answer costs a stream no token and no repetition', async () => {
    const worker = await startScriptedWorker(redis, laneCount)
    // What Redis has confirmed must outlive its death here: the gateway is on trial, not the disk.
    await worker.redis.config('SET', 'appendfsync', 'always')
    const answer = edge.chat(streamed)
    const job = await worker.next()
    await job.start()
    await job.say('A')
    const events = readEvents(await answer)
    const seen = [(await events.next()).value, (await events.next()).value]
    await redis.kill()
    await redis.start()
    await job.say('B')
    await job.say('C')
    await job.end()
    for await (const event of events) if (event.data !== null) seen.push(event)
    const whole = seen.filter((event) => event !== undefined)
    expect(textOf(whole)).toBe('ABC')
    expect(whole.at(-1)?.data).toBe('[DONE]')
    await worker.stop()
  }, 30_000)
})

describe('a job', () => {
  it('that was lost with its record is told, not waited for', async () => {
    const worker = await startScriptedWorker(redis, laneCount)
    const answer = edge.chat(streamed)
    const job = await worker.next()
    await job.start()
    const events = readAll(await answer)
    await worker.redis.flushall()
    expect(JSON.parse((await events).at(-1)?.data ?? '')).toMatchObject({ error: { code: 'worker_failed' } })
    await worker.stop()
  }, 30_000)

  it('whose log cannot be read is told, not waited for', async () => {
    const worker = await startScriptedWorker(redis, laneCount)
    const answer = edge.chat(streamed)
    const job = await worker.next()
    await job.start()
    const events = readAll(await answer)
    await worker.redis.set(keys.log(job.record.id), 'no stream')
    expect(JSON.parse((await events).at(-1)?.data ?? '')).toMatchObject({ error: { code: 'worker_failed' } })
    await worker.stop()
  }, 30_000)

  it('that waits for a worker ends soon after its client left, streamed or not', async () => {
    const connection = redis.connect()
    await announce(connection)
    for (const body of [streamed, chat]) {
      const leaving = new AbortController()
      edge.chat(body, { signal: leaving.signal }).catch(() => undefined)
      await expect.poll(() => connection.zcard(keys.open)).toBe(1)
      leaving.abort()
      await expect.poll(() => connection.zcard(keys.open), { timeout: goneWaitingMs, interval: 200 }).toBe(0)
    }
  }, 60_000)

  it('whose messages were all lost still comes, from the log', async () => {
    const worker = await startScriptedWorker(redis, laneCount)
    const answer = edge.chat(streamed)
    const job = await worker.next()
    await worker.redis.hset(keys.job(job.record.id), 'live', 'nobody-listens')
    await job.answer(['quiet'])
    expect(textOf((await readAll(await answer)).slice(0, 2))).toBe('quiet')
    await worker.stop()
  }, 30_000)

  it('beyond the bound of the cell is shed with a Retry-After', async () => {
    const connection = redis.connect()
    await announce(connection)
    const places = Array.from({ length: openJobsMax }, (_, i) => [0, `job-${i}`]).flat()
    await connection.zadd(keys.open, ...places)
    const response = await edge.chat(chat)
    expect([response.status, await codeOf(response)]).toEqual([503, 'server_is_overloaded'])
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})
