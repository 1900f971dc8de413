/**
 * The product with a part of it frozen, killed, full or lied to, while requests with canaries are under way.
 *
 * It undoes what it does. What is seen at the worst moments is kept; nothing is judged here.
 */
import assert from 'node:assert/strict'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { parseJobId } from '../../../contract/ids.ts'
import { keys, laneHeadKey } from '../../../contract/keys.ts'
import { heartbeatMs, jobAgeMaxMs, openJobsMax } from '../../../contract/limits.ts'
import type { Stack } from '../../fixtures/stack.ts'
import type { TestRedis } from '../../fixtures/redis.ts'
import { processesOf } from '../chaos-cell.ts'
import type { Evidence } from './canaries.ts'
import { metricsOf, redisContents } from './evidence.ts'
import type { Target } from './provocations.ts'

export interface Cell {
  readonly stack: Stack
  readonly redis: TestRedis
  readonly connection: Redis
  /** Lets the product into Redis, which forgets it when it dies. */
  readonly grant: () => Promise<void>
  /** Takes what is seen on the way. */
  readonly seen: Evidence[]
}

const waitingCount = 3
const healDeadlineMs = 60_000
const pollMs = 50
const isRecord = (name: string) => name.startsWith(`${keys.open.replace(':open', '')}:job:`)

/** Jobs wait behind a frozen worker: one goes on, one grows too old, one loses its log. */
export async function whileTheyWait(cell: Cell, { prober, tenantKey: key, model }: Target): Promise<void> {
  const { connection, seen, stack } = cell
  await healed(cell)
  const worker = await pidOf(stack, 'gpu-worker')
  process.kill(worker, 'SIGSTOP')
  const waiting = Array.from({ length: waitingCount }, (_, index) =>
    prober.chat(key, model, { stream: index === 0 }, { headers: { 'idempotency-key': prober.freshIdempotencyKey() } }),
  )
  try {
    await until(async () => (await connection.zcard(keys.open)) === waitingCount)
    await until(async () => (await queuedCount(connection)) === waitingCount)
    seen.push(...(await redisContents(connection, (name) => !isRecord(name))))
    seen.push(await metricsOf(stack.metricsUrl))
    await provePassage(connection, [prober.prompt.text, prober.system.text])
    const [first, second] = (await connection.zrange(keys.open, '0', '-1')).map(parseJobId)
    assert(first !== null && first !== undefined && second !== null && second !== undefined)
    await connection.set(keys.log(first), 'not a stream')
    await until(async () => prober.codes.has('worker_failed'))
    await connection.del(keys.log(first))
    for (const beat of await connection.smembers(keys.workers)) await connection.del(keys.worker(beat))
    await until(async () => (await prober.send('/readyz')).code === 'model_not_ready')
    await connection.set(keys.clockOffset, 2 * jobAgeMaxMs)
    await until(async () => prober.codes.has('job_expired'))
    await connection.del(keys.clockOffset)
  } finally {
    process.kill(worker, 'SIGCONT')
  }
  await Promise.all(waiting)
  await healed(cell)
}

/** Redis that says nothing, that takes nothing, and a cell that is full. */
export async function whileRedisFails(cell: Cell, { prober, tenantKey: key, model }: Target): Promise<void> {
  const { connection, redis, seen, stack } = cell
  process.kill(redis.pid(), 'SIGSTOP')
  try {
    await prober.chat(key, model)
    await prober.send(`/v1/organization/projects`, { key })
    seen.push(await metricsOf(stack.metricsUrl))
  } finally {
    process.kill(redis.pid(), 'SIGCONT')
  }
  await healed(cell)
  await connection.config('SET', 'maxmemory', '1')
  await prober.chat(key, model)
  await connection.config('SET', 'maxmemory', '0')
  await healed(cell)
  const places = Array.from({ length: openJobsMax }, (_, index) => [0, `place-${index}`]).flat()
  await connection.zadd(keys.open, ...places)
  await prober.chat(key, model)
  await connection.zremrangebyscore(keys.open, 0, 0)
}

/** A worker killed in mid-answer, then Redis, which comes back without knowing its user. */
export async function whileTheyDie(cell: Cell, { prober, tenantKey: key, model }: Target): Promise<void> {
  const { connection, redis, stack, grant } = cell
  const answers = Array.from({ length: waitingCount }, () =>
    prober.chat(key, model, { stream: true, max_completion_tokens: 1_000 }),
  )
  await until(async () => (await connection.zcard(keys.open)) === waitingCount)
  process.kill(await pidOf(stack, 'gpu-worker'), 'SIGKILL')
  await Promise.all(answers)
  await healed(cell)
  const answer = prober.chat(key, model, { stream: true, max_completion_tokens: 1_000 })
  await until(async () => (await connection.zcard(keys.open)) > 0)
  await redis.kill()
  await prober.chat(key, model)
  await redis.start()
  await prober.chat(key, model)
  // Long enough for every process to be refused with its password, at a heartbeat or a round.
  await delay(3 * heartbeatMs)
  await grant()
  await answer
  await healed(cell)
}

/** Until everything answers again and nothing is open. */
export async function healed({ stack, connection }: Cell): Promise<void> {
  await until(async () => (await fetch(`${stack.url}/readyz`)).status === 200)
  await until(async () => (await connection.zcard(keys.open)) === 0)
}

/** The canaries did pass through Redis, where they belong: in the records of open jobs. */
async function provePassage(connection: Redis, texts: readonly string[]): Promise<void> {
  for (const jobId of (await connection.zrange(keys.open, '0', '-1')).map(parseJobId)) {
    assert(jobId !== null, 'Open jobs have ids of ours')
    const request = (await connection.hget(keys.job(jobId), 'request')) ?? ''
    for (const text of texts) assert(request.includes(text), 'An open job holds its request')
  }
}

async function queuedCount(connection: Redis): Promise<number> {
  const counts = await Promise.all([0, 1].map((lane) => connection.zcard(laneHeadKey(lane))))
  return counts.reduce((sum, count) => sum + count, 0)
}

async function pidOf(stack: Stack, prefix: string): Promise<number> {
  const found = (await processesOf(stack)).find(({ name }) => name.startsWith(prefix))
  assert(found !== undefined, `The launcher runs no ${prefix}`)
  return found.pid
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + healDeadlineMs
  while (!(await isSo())) {
    assert(performance.now() < endsAtMs, `Not so after ${healDeadlineMs} ms: ${isSo.toString()}`)
    await delay(pollMs)
  }
}
