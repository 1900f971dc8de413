/**
 * Says every second that this worker lives and what it has, and learns who else does.
 *
 * It does not know what the numbers mean to the Broker. Missed beats are made up by the next one.
 */
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Heartbeat } from '../contract/heartbeat.ts'
import { keys } from '../contract/keys.ts'

export interface HeartbeatOptions {
  readonly redis: Redis
  readonly workerId: string
  readonly intervalMs: number
  readonly ttlMs: number
  readonly log: Logger
  readonly measure: () => Heartbeat
  /** Says what is served, when nobody has: Redis was emptied. */
  readonly announce: () => Promise<void>
}

export class Heartbeats {
  readonly #options: HeartbeatOptions
  #timer: NodeJS.Timeout | undefined
  #liveWorkerIds: readonly string[]
  #beating: Promise<void> | null = null

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#liveWorkerIds = [options.workerId]
  }

  /** Workers with a heartbeat, as of the last one here, this worker among them; another array only when they changed. */
  get liveWorkerIds(): readonly string[] {
    return this.#liveWorkerIds
  }

  /** Resolves after the first. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), this.#options.intervalMs)
    await this.beat()
  }

  /** One at a time; never rejects. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = null
    })
    return this.#beating
  }

  /** Leaves at once, so that nobody waits for the heartbeat to expire. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    const { redis, workerId } = this.#options
    await this.#beating
    await redis.pipeline().del(keys.worker(workerId)).srem(keys.workers, workerId).exec()
  }

  async #beat(): Promise<void> {
    const { redis, workerId, ttlMs, measure, announce, log } = this.#options
    try {
      // The heartbeat before the name: a name without one is dead, and cleared away by whoever sees it.
      await redis.set(keys.worker(workerId), JSON.stringify(measure()), 'PX', ttlMs)
      await redis.sadd(keys.workers, workerId)
      if ((await redis.exists(keys.servedModel)) === 0) await announce()
      const workerIds = await redis.smembers(keys.workers)
      const beats = await redis.mget(workerIds.map((id) => keys.worker(id)))
      const dead = workerIds.filter((_id, position) => beats[position] === null)
      if (dead.length > 0) await redis.srem(keys.workers, ...dead)
      const alive = workerIds.filter((id) => !dead.includes(id)).sort()
      if (alive.join() !== this.#liveWorkerIds.join()) this.#liveWorkerIds = alive
    } catch (error) {
      log.warn({ err: error }, 'cannot write the heartbeat')
    }
  }
}
