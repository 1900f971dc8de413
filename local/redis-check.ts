/**
 * Does a Redis answer, and is it one we can work with. It does not know whose it is. Addresses in messages carry no
 * user name and no password.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { evictingPolicy } from '../contract/redis-eviction.ts'
import { Failure } from './failure.ts'

const connectDeadlineMs = 5_000
const pollMs = 50
/** Loading a large append-only file takes a while; a Redis that is not done by then hangs. */
const readyDeadlineMs = 290_000

export interface RedisFacts {
  /** `7.0.15`; undefined when the server does not say. */
  readonly version: string | undefined
  /** Under which it drops keys; null: it drops none, or does not say. */
  readonly evictingPolicy: string | null
}

/** @throws Failure when it cannot be reached, refuses the password, or is a replica that takes no writes. */
export async function checkRedis(url: string): Promise<RedisFacts> {
  try {
    const info = await once(url, (redis) => redis.info())
    const field = (name: string): string | undefined => new RegExp(`^${name}:(.+)$`, 'm').exec(info)?.[1]?.trim()
    if (field('role') === 'slave') throw new Error('it is a read-only replica')
    return { version: field('redis_version'), evictingPolicy: evictingPolicy(info) }
  } catch (error) {
    throw new Failure(
      `The Redis at ${withoutPassword(url)} cannot be used: ${reason(error)}`,
      'Start it, correct REDIS_URL, or unset REDIS_URL to use a private Redis.',
      { cause: error },
    )
  }
}

/** Resolves once it answers; rejects on `signal` or after a deadline. */
export async function untilRedisAnswers(url: string, signal: AbortSignal): Promise<void> {
  const giveUpAt = performance.now() + readyDeadlineMs
  for (;;) {
    try {
      // Not the first thing that is refused while it loads its data: that is INFO's privilege.
      await once(url, (redis) => redis.get('{axle}:ready-probe'))
      return
    } catch (error) {
      if (performance.now() > giveUpAt) throw new Failure(`Redis does not get ready: ${reason(error)}`, 'See its log.')
      await delay(pollMs, undefined, { signal })
    }
  }
}

async function once<T>(url: string, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: connectDeadlineMs,
    commandTimeout: connectDeadlineMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  let connectionError: Error | undefined
  redis.on('error', (error: Error) => {
    connectionError = error
  })
  try {
    await redis.connect()
    return await ask(redis)
  } catch (error) {
    throw connectionError ?? error
  } finally {
    redis.disconnect()
  }
}

function reason(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reason).join('; ')
  return error instanceof Error ? error.message : String(error)
}

function withoutPassword(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}
