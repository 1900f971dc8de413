/**
 * What Redis knows of the cell at one moment, for metrics: two round trips, read only, within a deadline.
 *
 * It knows the keys, not what anyone makes of the numbers. Nothing of one job, key or tenant is read.
 */
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { decodeHeartbeat, type Heartbeat } from '../contract/heartbeat.ts'
import { keys } from '../contract/keys.ts'

type Hash = Readonly<Record<string, string>>

export interface CellReading {
  readonly openCount: number
  /** Null where nothing is open. */
  readonly oldestAgeMs: number | null
  /** Lane → jobs admitted to it and not ended. */
  readonly laneLoad: Hash
  readonly cell: Hash
  readonly gateway: Hash
  readonly undrainedCount: number
  readonly unreadableCount: number
  readonly heartbeats: readonly Heartbeat[]
}

export class CellReader {
  readonly #redis: Redis
  readonly #deadlineMs: number
  readonly #log: Logger
  #reading: Promise<CellReading | null> | null = null

  constructor(redis: Redis, deadlineMs: number, log: Logger) {
    this.#redis = redis
    this.#deadlineMs = deadlineMs
    this.#log = log
  }

  /** Null when Redis does not answer in time. One question at a time: who asks meanwhile gets the same answer. */
  read(): Promise<CellReading | null> {
    // Behind a link that is down a command would wait, and all that waited would be asked at once later.
    if (this.#redis.status !== 'ready') return Promise.resolve(null)
    this.#reading ??= this.#ask()
      .catch((error: unknown) => {
        this.#log.warn({ err: error }, 'cannot read the figures of the cell')
        return null
      })
      .finally(() => {
        this.#reading = null
      })
    return within(this.#reading, this.#deadlineMs)
  }

  async #ask(): Promise<CellReading> {
    const redis = this.#redis
    // One socket, no transaction: they leave together.
    const [time, offset, openCount, oldest, laneLoad, cell, gateway, undrainedCount, unreadableCount, workerIds] =
      await Promise.all([
        redis.time(),
        redis.get(keys.clockOffset),
        redis.zcard(keys.open),
        redis.zrangebyscore(keys.open, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1),
        redis.hgetall(keys.laneLoad),
        redis.hgetall(keys.cell),
        redis.hgetall(keys.gateway),
        redis.xlen(keys.usage),
        redis.xlen(keys.unreadableUsage),
        redis.smembers(keys.workers),
      ])
    const [seconds, microseconds] = time
    const nowMs = Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000) + Number(offset ?? 0)
    const [, admittedAtMs] = oldest
    const beats = workerIds.length === 0 ? [] : await redis.mget(workerIds.map((id) => keys.worker(id)))
    return {
      openCount,
      oldestAgeMs: admittedAtMs === undefined ? null : Math.max(0, nowMs - Number(admittedAtMs)),
      laneLoad,
      cell,
      gateway,
      undrainedCount,
      unreadableCount,
      heartbeats: beats.flatMap((json) => this.#heartbeatOf(json)),
    }
  }

  /** None of a worker that died, or that speaks another version's words. */
  #heartbeatOf(json: string | null): Heartbeat[] {
    if (json === null) return []
    try {
      return [decodeHeartbeat(json)]
    } catch {
      this.#log.warn('a heartbeat cannot be read')
      return []
    }
  }
}

async function within<T>(promise: Promise<T>, deadlineMs: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), deadlineMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
