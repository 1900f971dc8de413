/**
 * Takes jobs from the lanes into the window this worker may hold, and sees each through: claim, plan, run, let go.
 *
 * It does not know tokens or the GPU. A suspect job, one that was lost with several workers, is run when nothing else
 * is held, so that whatever it does to this process it does alone.
 */
import type { Logger } from 'pino'
import type { Redis } from 'ioredis'
import { ZodError } from 'zod'
import { AppError } from '../contract/errors.ts'
import type { JobId } from '../contract/ids.ts'
import type { JobRecord } from '../contract/job.ts'
import { keys } from '../contract/keys.ts'
import { windowPerSlot } from '../contract/limits.ts'
import type { JobScripts } from '../contract/scripts.ts'
import { LogMismatch } from './answer-stream.ts'
import type { EngineLoop } from './engine-loop.ts'
import { planJob } from './job-plan.ts'
import { errorFactsOf, type JobOutcome, JobRun, type JobRunContext } from './job-run.ts'
import { chooseLanes } from './lane-choice.ts'
import type { FetchedJob, LaneQueues } from './lane-queues.ts'
import type { Locks } from './locks.ts'
import type { ModelText } from './model/model-text.ts'
import { untilAnswered } from './redis-link.ts'
import { Signal } from './signal.ts'
import { readTokenLog, type WrittenLog } from './token-log.ts'

export interface ConsumerContext extends JobRunContext {
  readonly loop: EngineLoop
  readonly scripts: JobScripts
  readonly redis: Redis
  readonly queues: LaneQueues
  readonly locks: Locks
  readonly text: ModelText
  readonly log: Logger
  readonly workerId: string
  readonly slots: number
  readonly ownedLanes: () => ReadonlySet<number>
  /** Should a wake-up be lost, the lanes are looked at after this long. */
  readonly pollMs: number
  /** False only in the negative control of a test: jobs taken over start from nothing. */
  readonly isResuming: boolean
  /** Losses after which a job runs alone; a negative control never lets one. */
  readonly suspectStalledCount: number
}

interface HeldJob {
  readonly fetched: FetchedJob
  run: JobRun | null
  /** Resolves when it runs or will not: until then its claim may be under way. Null while a suspect waits. */
  prepared: Promise<void> | null
}

export class Consumer {
  readonly #context: ConsumerContext
  readonly #held = new Set<HeldJob>()
  readonly #signal = new Signal()
  readonly #waitingMax: number
  #suspect: HeldJob | null = null
  /** Something may wait in a lane. */
  #mayFind = true
  #isStopping = false

  constructor(context: ConsumerContext) {
    this.#context = context
    // A job that waits here waits for this worker alone; one that waits in its lane goes to whoever is free first.
    this.#waitingMax = Math.max(2, Math.ceil(context.slots / 4))
  }

  /** A lane may have a job for us. */
  wake(): void {
    this.#mayFind = true
    this.#signal.notify()
  }

  /** Places may have become free. */
  notice(): void {
    if (this.#mayFind && this.#room() > 0) this.#signal.notify()
  }

  cancel(jobId: string): void {
    for (const { fetched, run } of this.#held) if (fetched.jobId === jobId) run?.cancel()
  }

  /** Fetches until `stop`. Rejects when Redis answers what it should not; a cut link is waited for. */
  async run(): Promise<void> {
    const { queues, ownedLanes, pollMs } = this.#context
    while (!this.#isStopping) {
      const room = this.#room()
      if (room === 0 || !this.#mayFind) {
        await this.#signal.wait(pollMs)
        this.#mayFind = true
        continue
      }
      this.#mayFind = false
      const lanes = await queues.waiting(room + 1)
      const chosen = chooseLanes(lanes, ownedLanes(), room)
      this.#mayFind ||= lanes.flat().length > chosen.length
      await Promise.all(chosen.map((lane) => this.#take(lane)))
    }
  }

  /** Gives every held job back to its lane; the log tells the next worker how far it came. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#signal.notify()
    const handBack = async (job: HeldJob) => {
      // A claim that came after the next worker's would fence it.
      await job.prepared
      await job.run?.close()
      await this.#context.queues.handBack(job.fetched)
    }
    await Promise.allSettled([...this.#held].map(handBack))
  }

  #room(): number {
    if (this.#suspect !== null) return 0
    const { loop, slots } = this.#context
    const preparingCount = [...this.#held].filter(({ run }) => run === null).length
    const window = windowPerSlot * slots - this.#held.size
    const waiting = this.#waitingMax - loop.stats().waitingCount - preparingCount
    return Math.max(0, Math.min(window, waiting))
  }

  async #take(lane: number): Promise<void> {
    const { queues, locks } = this.#context
    const fetched = await queues.fetch(lane)
    if (fetched === null) return
    const isSuspect = fetched.stalledCount >= this.#context.suspectStalledCount && !fetched.isGivenUp
    if (this.#isStopping || (isSuspect && this.#suspect !== null)) return queues.handBack(fetched)
    const job: HeldJob = { fetched, run: null, prepared: null }
    if (isSuspect) this.#suspect = job
    this.#held.add(job)
    locks.hold(fetched)
    if (isSuspect && this.#held.size > 1) return // begins when the others have left
    void this.#process(job)
  }

  /** Never rejects. */
  async #process(job: HeldJob): Promise<void> {
    const { queues, locks, log } = this.#context
    const { fetched } = job
    const { promise, resolve } = Promise.withResolvers<void>()
    job.prepared = promise
    try {
      const outcome = await this.#settle(job, resolve)
      if (this.#isStopping) return // `stop` lets go of it
      if (outcome.kind === 'abandoned') queues.forget(fetched)
      else if (outcome.kind === 'ended' && outcome.status === 'failed') await queues.fail(fetched, 'failed: see record')
      else await queues.complete(fetched)
    } catch (error) {
      // Its lock expires and the janitor passes it on: counted, so that it cannot go round for ever.
      log.error({ jobId: fetched.jobId, err: withoutContent(error) }, 'a job was left to takeover')
      queues.forget(fetched)
    } finally {
      resolve()
      locks.release(fetched)
      this.#held.delete(job)
      if (this.#suspect === job) this.#suspect = null
      else if (this.#suspect !== null && this.#held.size === 1) void this.#process(this.#suspect)
      this.#mayFind = true
      this.notice()
    }
  }

  async #settle(job: HeldJob, prepared: () => void): Promise<JobOutcome> {
    const { scripts, workerId, redisDeadlineMs, log } = this.#context
    const { jobId } = job.fetched
    let claim
    try {
      claim = await untilAnswered(() => scripts.claim(jobId, workerId), redisDeadlineMs)
    } catch (error) {
      if (!(error instanceof ZodError)) throw error
      log.error({ jobId }, 'the record of a job cannot be read')
      return this.#fail(jobId, await this.#storedEpoch(jobId), 0, null)
    }
    if (claim.kind !== 'claimed') return { kind: 'fenced' }
    const { record } = claim
    const written = await this.#writtenLog(record)
    if (job.fetched.isGivenUp) {
      log.error({ jobId, stalledCount: job.fetched.stalledCount }, 'a job was lost with too many workers')
      return this.#fail(jobId, record.epoch, written.promptTokens, givenUp)
    }
    return this.#run(job, record, written, prepared)
  }

  async #run(job: HeldJob, record: JobRecord, written: WrittenLog, prepared: () => void): Promise<JobOutcome> {
    const { loop, text, log, isResuming, suspectStalledCount } = this.#context
    const { jobId, stalledCount } = job.fetched
    try {
      const plan = planJob(record, isResuming ? written : emptyLog, text, loop.tokensMax)
      const run = new JobRun(this.#context, record, plan)
      const promptTokens = plan.promptTokenIds.length
      const facts = { jobId, epoch: record.epoch, promptTokens, resumedTokens: plan.resumedTokenIds.length }
      log.info({ ...facts, stalledCount }, 'job begins')
      if (this.#isStopping) return { kind: 'abandoned' }
      run.begin(stalledCount >= suspectStalledCount)
      job.run = run
      prepared()
      const outcome = await run.outcome
      log.info({ jobId, epoch: record.epoch, tokens: plan.answer.tokenCount, outcome }, 'job leaves')
      return outcome
    } catch (error) {
      if (job.run !== null) throw error
      if (!(error instanceof AppError)) log.error({ jobId, err: withoutContent(error) }, 'a job cannot begin')
      return this.#fail(jobId, record.epoch, written.promptTokens, error)
    }
  }

  async #writtenLog(record: JobRecord): Promise<WrittenLog> {
    if (record.entryCount === 0) return emptyLog
    const { redis, redisDeadlineMs } = this.#context
    return untilAnswered(() => readTokenLog(redis, record.id, record.entryCount), redisDeadlineMs)
  }

  async #fail(jobId: JobId, epoch: number, promptTokens: number, error: unknown): Promise<JobOutcome> {
    const { scripts, redisDeadlineMs } = this.#context
    const facts = errorFactsOf(error)
    const ending = { status: 'failed', finishReasons: [], error: facts, promptTokens, cachedTokens: 0 } as const
    const reply = await untilAnswered(() => scripts.finish(jobId, epoch, ending), redisDeadlineMs)
    return reply === 'ok' ? { kind: 'ended', status: 'failed' } : { kind: 'fenced' }
  }

  async #storedEpoch(jobId: JobId): Promise<number> {
    const { redis, redisDeadlineMs } = this.#context
    return Number(await untilAnswered(() => redis.hget(keys.job(jobId), 'epoch'), redisDeadlineMs))
  }
}

const emptyLog: WrittenLog = { tokenEntries: [], tokenIds: [], promptTokens: 0 }

const givenUp = new AppError(
  'worker_failed',
  'The request was lost with several workers in a row and will not be tried again. Please retry it.',
)

/** Errors of ours say what is wrong without tenant data; of any other kind only its name is safe to log. */
function withoutContent(error: unknown): unknown {
  if (error instanceof LogMismatch) return error
  return error instanceof Error ? { name: error.name, stack: error.stack?.replace(/^.*\n/, '') } : typeof error
}
