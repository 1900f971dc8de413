/**
 * Connections to Redis that come back by themselves, and operations repeated until Redis answers.
 *
 * It knows no key and no script; what it repeats must be idempotent.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { evictingPolicy, evictionMessage } from '../contract/redis-eviction.ts'

/** Redis did not answer in time. Operational: whoever needs it cannot go on. */
export class RedisGone extends Error {
  override readonly name = 'RedisGone'
}

/** Redis answers, and would drop jobs that were accepted. Operational: its configuration has to change. */
export class RedisEvicts extends Error {
  override readonly name = 'RedisEvicts'
}

/** A socket that owes a reply for this long is dead, and another is opened. */
const socketTimeoutMs = 5_000
const reconnectMs = 100
const reconnectMsMax = 500
const retryMs = 50

export interface LinkOptions {
  readonly log: Logger
  /** Commands of one tick leave as one pipeline. */
  readonly isPipelined?: boolean
  /** Only ever listens: nothing is owed a reply. */
  readonly isListener?: boolean
}

/** A connection that retries for ever; its commands wait meanwhile. The caller closes it. Nothing of the URL is logged. */
export function openLink(url: string, { log, isPipelined = false, isListener = false }: LinkOptions): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    enableAutoPipelining: isPipelined,
    retryStrategy: (attempt) => Math.min(attempt * reconnectMs, reconnectMsMax),
    // After a failover this address may lead to the new primary: reads would go on here, and no write ever again.
    reconnectOnError: (error) => (isReplicas(error) ? 2 : false),
    ...(isListener ? {} : { socketTimeout: socketTimeoutMs }),
  })
  let isUp = true
  redis.on('error', (error: Error) => {
    if (isUp) log.warn({ reason: error.message }, 'lost Redis')
    isUp = false
  })
  redis.on('ready', () => {
    if (!isUp) log.info('Redis is back')
    isUp = true
  })
  return redis
}

/** @throws RedisGone when no connection stands after `deadlineMs`. */
export async function whenConnected(redis: Redis, deadlineMs: number): Promise<void> {
  await untilAnswered(() => redis.ping(), deadlineMs)
}

/** @throws RedisEvicts, RedisGone. */
export async function requireKeeping(redis: Redis, deadlineMs: number): Promise<void> {
  const policy = evictingPolicy(await untilAnswered(() => redis.info(), deadlineMs))
  if (policy !== null) throw new RedisEvicts(evictionMessage(policy))
}

/**
 * Repeats `attempt` over cut connections and a Redis that is loading or full, until it answers.
 *
 * @throws RedisGone after `deadlineMs`; every other error at once, as it is.
 */
export async function untilAnswered<T>(attempt: () => Promise<T>, deadlineMs: number): Promise<T> {
  const deadline = new AbortController()
  let last: Error | null = null
  const expired = delay(deadlineMs, undefined, { signal: deadline.signal }).then(() => {
    const reason = last === null ? '' : `: ${last.message}`
    throw new RedisGone(`Redis did not answer for ${deadlineMs} ms${reason}`, { cause: last })
  })
  const note = (error: Error) => {
    last = error
  }
  try {
    return await Promise.race([repeat(attempt, note, deadline.signal), expired])
  } finally {
    deadline.abort()
    expired.catch(() => undefined)
  }
}

async function repeat<T>(attempt: () => Promise<T>, note: (error: Error) => void, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!isPassing(error)) throw error
      note(error)
      if (signal.aborted) throw new RedisGone('Redis did not answer in time', { cause: error })
      await delay(retryMs)
    }
  }
}

function isReplicas(error: Error): boolean {
  return error.message.startsWith('READONLY')
}

const passingErrors = /^(LOADING|READONLY|OOM|BUSY|MASTERDOWN|TRYAGAIN|MISCONF)\b|Connection is closed|connection close/
const passingCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET)/

function isPassing(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return passingErrors.test(error.message) || passingCodes.test(code)
}
