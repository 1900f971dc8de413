/**
 * Puts right what a lost process or a lost reply left behind: stalled jobs, jobs that never reached their queue or fell
 * out of it or wait there in a wrong place, jobs that are too old. Every duty is bounded a round and harmless when two
 * janitors do it.
 *
 * It does not know what jobs are about: it moves ids, and only the scripts change a record.
 */
import { createRedisBackend, type JobsOptions, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { AppError } from '../contract/errors.ts'
import { type JobId, parseJobId } from '../contract/ids.ts'
import { endStatuses } from '../contract/job.ts'
import { bullPrefix, channels, keys, laneName } from '../contract/keys.ts'
import { jobAgeMaxMs, requeueAfterMs, stalledCheckMs, stalledCountMax } from '../contract/limits.ts'
import { priorityOf } from '../contract/quota.ts'
import type { JobScripts } from '../contract/scripts.ts'
import { changePriority, followBase } from './rebase.ts'

export interface JanitorOptions {
  /** Stays the caller's. */
  readonly redis: Redis
  readonly scripts: JobScripts
  readonly laneCount: number
  readonly log: Logger
  /** Tests shorten them; everyone else leaves them to the limits. */
  readonly timings?: Partial<JanitorTimings>
}

export interface JanitorTimings {
  readonly stalledCheckMs: number
  readonly requeueAfterMs: number
  readonly jobAgeMaxMs: number
}

/** Open jobs looked at in a round; the next round goes on behind them. */
const jobsPerRound = 500
const expiriesPerRound = 100
const expired = new AppError('job_expired', 'The request did not finish in time. Please retry it.')
const unreadable = new AppError('worker_failed', 'The request was lost. Send it again.')
const defaultTimings = { stalledCheckMs, requeueAfterMs, jobAgeMaxMs }

/** A record that should be in a queue, as far as the sweep needs it. */
interface OpenJob {
  readonly jobId: JobId
  readonly isAccepted: boolean
  readonly lane: number
  /** Due by its place in virtual time, whatever it was admitted with. */
  readonly priority: number
}

export class Janitor {
  readonly #options: JanitorOptions
  readonly #timings: JanitorTimings
  readonly #stalledChecks: readonly Worker[]
  readonly #queues = new Map<number, Queue>()
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()
  #isStopping = false
  #offset = 0

  constructor(options: JanitorOptions) {
    this.#options = options
    this.#timings = { ...defaultTimings, ...options.timings }
    this.#stalledChecks = Array.from({ length: options.laneCount }, (_, lane) => this.#stalledCheck(lane))
  }

  /** Resolves when every lane is being checked and one round is done. */
  async start(): Promise<void> {
    await Promise.all(this.#stalledChecks.map((check) => check.startStalledCheckTimer()))
    await this.#nextRound()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#timer)
    await this.#round
    await Promise.all([...this.#stalledChecks, ...this.#queues.values()].map((queue) => queue.close()))
  }

  /** One round of every duty but the stalled check, which has its own timer. */
  async sweep(): Promise<void> {
    const nowMs = await this.#redisTimeMs()
    await this.#expire(nowMs - this.#timings.jobAgeMaxMs)
    await this.#requeue(nowMs - this.#timings.requeueAfterMs, await this.#rebase())
  }

  #nextRound(): Promise<void> {
    this.#round = this.#sweepAndSleep()
    return this.#round
  }

  async #sweepAndSleep(): Promise<void> {
    try {
      await this.sweep()
    } catch (error) {
      this.#options.log.warn({ err: error }, 'a round failed')
    }
    if (!this.#isStopping) this.#timer = setTimeout(() => void this.#nextRound(), this.#timings.stalledCheckMs)
  }

  /** BullMQ's own: it marks every active job, and at the next pass gives those without a lock back to the lane. */
  #stalledCheck(lane: number): Worker {
    const { redis, log } = this.#options
    const check = new Worker(
      laneName(lane),
      null,
      {
        connection: redis,
        prefix: bullPrefix,
        stalledInterval: this.#timings.stalledCheckMs,
        maxStalledCount: stalledCountMax,
      },
      // It fetches nothing, so it needs no connection of its own to wait on.
      (name, backendOptions) => createRedisBackend(name, backendOptions),
    )
    check.on('error', (error) => log.debug({ lane, reason: error.message }, 'stalled check'))
    check.on('stalled', (jobId) => {
      log.warn({ lane, jobId }, 'a worker was lost; its job waits again')
      this.#wake(lane)
    })
    return check
  }

  async #expire(admittedBeforeMs: number): Promise<void> {
    const { redis, scripts, log } = this.#options
    const ids = await redis.zrangebyscore(keys.open, '-inf', admittedBeforeMs, 'LIMIT', 0, expiriesPerRound)
    for (const jobId of await this.#jobIds(ids)) {
      const [lane] = fieldsOf((await redis.pipeline().hmget(keys.job(jobId), 'lane').exec())?.[0])
      const result = await scripts.expire(jobId, this.#timings.jobAgeMaxMs, expired.facts)
      if (result === 'discarded') log.error({ jobId }, 'a job is given up: its record cannot be read')
      if (result !== 'expired') continue
      log.warn({ jobId }, 'a job expired')
      // One that runs is locked and stays; its worker is fenced and lets go of it.
      const known = whole(lane)
      if (known !== null) await this.#queue(known).remove(jobId)
    }
  }

  /** Returns what priorities count from. */
  async #rebase(): Promise<number> {
    const { redis, scripts, laneCount, log } = this.#options
    const { base, isMoved } = await scripts.rebase()
    if (!isMoved) return base
    const queues = Array.from({ length: laneCount }, (_, lane) => this.#queue(lane))
    log.info({ base, jobs: await followBase(redis, queues, base) }, 'priorities count from a new base')
    return base
  }

  /**
   * Adds every job again that its queue does not know: its add was lost, or its BullMQ job was. Moves those whose
   * priority is not the due one: they were added while the base moved, or the janitor died that moved it.
   */
  async #requeue(admittedBeforeMs: number, base: number): Promise<void> {
    const { redis, scripts, log } = this.#options
    const ids = await redis.zrangebyscore(keys.open, '-inf', admittedBeforeMs, 'LIMIT', this.#offset, jobsPerRound)
    this.#offset = ids.length < jobsPerRound ? 0 : this.#offset + jobsPerRound
    const jobs = await this.#openJobs(await this.#jobIds(ids), base)
    const pipeline = redis.pipeline()
    for (const { lane, jobId } of jobs) {
      pipeline.hmget(this.#queue(lane).toKey(jobId), 'timestamp', 'finishedOn', 'priority')
    }
    const replies = (await pipeline.exec()) ?? []
    for (const [position, job] of jobs.entries()) {
      const [addedAt, finishedOn, priority] = fieldsOf(replies[position])
      const [isKnown, isFinished] = [typeof addedAt === 'string', typeof finishedOn === 'string']
      if (isFinished) await this.#queue(job.lane).remove(job.jobId)
      else if (isKnown && Number(priority) !== job.priority) {
        await changePriority(this.#queue(job.lane), job.jobId, job.priority)
      }
      if (!isKnown || isFinished) {
        await this.#add(job)
        log.warn({ jobId: job.jobId, lane: job.lane }, 'a job was missing in its queue')
      }
      if (job.isAccepted) await scripts.queued(job.jobId)
    }
  }

  async #add({ lane, jobId, priority }: OpenJob): Promise<void> {
    const options: JobsOptions = { jobId, priority }
    await this.#queue(lane).add('generate', {}, options)
    this.#wake(lane)
  }

  /** What the records say of those that should be in a queue. What is no record, or none any more, ends here. */
  async #openJobs(jobIds: readonly JobId[], base: number): Promise<OpenJob[]> {
    const { redis, scripts, log } = this.#options
    const pipeline = redis.pipeline()
    for (const jobId of jobIds) pipeline.hmget(keys.job(jobId), 'status', 'lane', 'queueTag')
    const replies = (await pipeline.exec()) ?? []
    const jobs: OpenJob[] = []
    for (const [position, jobId] of jobIds.entries()) {
      const [status = null, lane, queueTag] = fieldsOf(replies[position])
      const job = { jobId, isAccepted: status === 'accepted', lane: whole(lane), priority: due(queueTag, base) }
      const isEnded = endStatuses.some((end) => end === status)
      if (job.lane !== null && job.priority !== null) {
        if (!isEnded && status !== null) jobs.push({ ...job, lane: job.lane, priority: job.priority })
      } else {
        const result = await scripts.expire(jobId, 0, unreadable.facts)
        if (result !== 'missing') log.error({ jobId, result }, 'a job is given up: its record cannot be read')
      }
    }
    return jobs
  }

  /** What is not an id of ours does not belong in the open set. */
  async #jobIds(ids: readonly string[]): Promise<JobId[]> {
    const foreign = ids.filter((id) => parseJobId(id) === null)
    if (foreign.length > 0) await this.#options.redis.zrem(keys.open, ...foreign)
    return ids.map(parseJobId).filter((id) => id !== null)
  }

  #queue(lane: number): Queue {
    const known = this.#queues.get(lane)
    if (known !== undefined) return known
    const { redis, log } = this.#options
    const queue = new Queue(laneName(lane), { connection: redis, prefix: bullPrefix })
    queue.on('error', (error) => log.debug({ lane, reason: error.message }, 'queue'))
    this.#queues.set(lane, queue)
    return queue
  }

  #wake(lane: number): void {
    this.#options.redis.publish(channels.wake, `${lane}`).catch(() => undefined) // workers poll as well
  }

  /** As the scripts see it: Redis time, shifted in tests. */
  async #redisTimeMs(): Promise<number> {
    const { redis } = this.#options
    const [[seconds, microseconds], offsetMs] = await Promise.all([redis.time(), redis.get(keys.clockOffset)])
    return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000) + Number(offsetMs ?? 0)
  }
}

/** The fields in one reply of a pipeline; none where the key holds something else, which must not stop the round. */
function fieldsOf(reply: readonly [Error | null, unknown] | undefined): (string | null)[] {
  const [error, value] = reply ?? [null, []]
  if (error !== null && !error.message.startsWith('WRONGTYPE')) throw error
  return Array.isArray(value) ? value.map((field: unknown) => (typeof field === 'string' ? field : null)) : []
}

function whole(text: string | null | undefined): number | null {
  return typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : null
}

function due(queueTag: string | null | undefined, base: number): number | null {
  const tag = Number(queueTag ?? Number.NaN)
  return Number.isFinite(tag) ? priorityOf(tag, base) : null
}
