/**
 * The lanes as BullMQ queues, fetched by hand: what waits, take one, keep its lock, let it go.
 *
 * It knows BullMQ and nothing of job records, epochs or the engine: whose tokens count is decided by the epoch, not
 * by these locks.
 */
import assert from 'node:assert/strict'
import { createRedisBackend, ErrorCode, type Job, UnrecoverableError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { decodeTime } from 'ulid'
import { type JobId, parseJobId } from '../contract/ids.ts'
import { bullPrefix, laneHeadKey, laneName, laneStalledKey, priorityScore } from '../contract/keys.ts'
import { recordTtlMs, stalledCountMax } from '../contract/limits.ts'
import type { WaitingJob } from './lane-choice.ts'

/** A job that BullMQ calls active in this process. */
export interface FetchedJob {
  readonly jobId: JobId
  readonly lane: number
  /** Of its BullMQ lock; never used twice. */
  readonly lockToken: string
  /** Workers it was lost with. */
  readonly stalledCount: number
  /** It was lost with more workers than allowed: manual fetch hands it out all the same, to be failed by its taker. */
  readonly isGivenUp: boolean
}

type LaneWorker = Worker<unknown, unknown>

/** Failed jobs that BullMQ keeps a lane, for an operator to look at. They hold an id and no tenant data. */
const failedJobsKept = 1_000

export class LaneQueues {
  readonly #redis: Redis
  readonly #workers: readonly LaneWorker[]
  readonly #jobs = new Map<FetchedJob, Job>()
  readonly #tokenPrefix: string
  readonly #lockMs: number
  #fetchCount = 0

  /** @param redis a connection that stays the caller's. @param tokenPrefix unique to this process. */
  constructor(
    redis: Redis,
    options: { laneCount: number; lockMs: number; tokenPrefix: string; onError: (e: Error) => void },
  ) {
    this.#redis = redis
    this.#tokenPrefix = options.tokenPrefix
    this.#lockMs = options.lockMs
    this.#workers = Array.from({ length: options.laneCount }, (_, lane) => {
      const worker: LaneWorker = new Worker(
        laneName(lane),
        null,
        {
          connection: redis,
          prefix: bullPrefix,
          lockDuration: options.lockMs,
          maxStalledCount: stalledCountMax,
          skipStalledCheck: true,
          removeOnComplete: { count: 0 },
          removeOnFail: { count: failedJobsKept, age: recordTtlMs / 1_000 },
        },
        // Nobody here waits inside Redis: no lane needs the blocking connection of its own that BullMQ would open.
        (name, backendOptions) => createRedisBackend(name, backendOptions),
      )
      worker.on('error', options.onError)
      return worker
    })
  }

  /** Up to `count` waiting jobs of every lane, in the order in which BullMQ serves them. One round trip. */
  async waiting(count: number): Promise<WaitingJob[][]> {
    const pipeline = this.#redis.pipeline()
    for (const lane of this.#workers.keys()) {
      pipeline.lrange(laneStalledKey(lane), -count, -1)
      pipeline.zrange(laneHeadKey(lane), '0', `${count - 1}`, 'WITHSCORES')
    }
    const replies = (await pipeline.exec()) ?? []
    return [...this.#workers.keys()].map((lane) => {
      const stalled = stringsOf(replies[2 * lane])
        .toReversed()
        .map((id) => waitingJob(lane, id, 0))
      const scored = stringsOf(replies[2 * lane + 1])
      const prioritized = scored.flatMap((id, position) =>
        position % 2 === 1 ? [] : [waitingJob(lane, id, Math.floor(Number(scored[position + 1]) / priorityScore))],
      )
      return [...stalled, ...prioritized].filter((job) => job !== null).slice(0, count)
    })
  }

  /** Takes the lane's next job under a fresh lock; null when another worker was faster. */
  async fetch(lane: number): Promise<FetchedJob | null> {
    this.#fetchCount += 1
    const lockToken = `${this.#tokenPrefix}:${this.#fetchCount}`
    const job = await this.#worker(lane).getNextJob(lockToken, { block: false })
    if (job?.id === undefined) return null
    const jobId = parseJobId(job.id)
    if (jobId === null) {
      await job.moveToFailed(new UnrecoverableError('Its id is not a job id'), lockToken)
      return null
    }
    const isGivenUp = job.deferredFailure !== undefined && job.deferredFailure !== ''
    const fetched = { jobId, lane, lockToken, stalledCount: job.stalledCounter, isGivenUp }
    this.#jobs.set(fetched, job)
    return fetched
  }

  /** Returns the jobs whose locks this process no longer has. */
  async extendLocks(jobs: readonly FetchedJob[]): Promise<FetchedJob[]> {
    const lost = [...this.#workers.keys()].map(async (lane) => {
      const held = jobs.filter((job) => job.lane === lane)
      if (held.length === 0) return []
      const jobIds = held.map((job) => job.jobId)
      const tokens = held.map((job) => job.lockToken)
      const lostIds = await this.#worker(lane).extendJobLocks(jobIds, tokens, this.#lockMs)
      return held.filter((job) => lostIds.includes(job.jobId))
    })
    return (await Promise.all(lost)).flat()
  }

  /** The record says how the job ended; BullMQ forgets it. */
  async complete(job: FetchedJob): Promise<void> {
    await this.#letGo(job, (bull) => bull.moveToCompleted(null, job.lockToken, false))
  }

  /** @param reason for an operator: no tenant data. */
  async fail(job: FetchedJob, reason: string): Promise<void> {
    await this.#letGo(job, (bull) => bull.moveToFailed(new UnrecoverableError(reason), job.lockToken, false))
  }

  /** Back to the head of its priority, for another worker; not counted as a stall. */
  async handBack(job: FetchedJob): Promise<void> {
    await this.#letGo(job, (bull) => bull.moveToWait(job.lockToken))
  }

  /** Forgets the job here: another worker has it, or BullMQ will find its lock expired. */
  forget(job: FetchedJob): void {
    this.#jobs.delete(job)
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close(true)))
  }

  async #letGo(fetched: FetchedJob, move: (bull: Job) => Promise<unknown>): Promise<void> {
    const job = this.#jobs.get(fetched)
    assert(job !== undefined, `Cannot let go of job ${fetched.jobId}: it is not held`)
    this.#jobs.delete(fetched)
    try {
      await move(job)
    } catch (error) {
      // Taken over, or removed by the janitor. What the job is was decided by its record.
      if (!isLostLock(error)) throw error
    }
  }

  #worker(lane: number): LaneWorker {
    const worker = this.#workers[lane]
    assert(worker !== undefined, `There is no lane ${lane} of ${this.#workers.length}`)
    return worker
  }
}

const lostLockCodes: ReadonlySet<unknown> = new Set([
  ErrorCode.JobNotExist,
  ErrorCode.JobLockNotExist,
  ErrorCode.JobNotInState,
  ErrorCode.JobLockMismatch,
])

function isLostLock(error: unknown): boolean {
  return error instanceof Error && 'code' in error && lostLockCodes.has(error.code)
}

/** The ids in one reply of a pipeline. */
function stringsOf(reply: readonly [Error | null, unknown] | undefined): string[] {
  const [error, value] = reply ?? [null, []]
  if (error !== null) throw error
  assert(Array.isArray(value), 'Redis lists the jobs of a lane')
  return value.map(String)
}

/** A job id carries the time of its admission. */
function waitingJob(lane: number, id: string, priority: number): WaitingJob | null {
  const jobId = parseJobId(id)
  // An id of another kind is taken first, and failed by `fetch`.
  return jobId === null ? null : { lane, jobId, priority, admittedAtMs: decodeTime(jobId) }
}
