/**
 * Takes jobs from the lanes into the window this worker may hold, keeps their locks, and lets go of each at its end.
 *
 * It does not know what a job goes through in between. A suspect job, one that was lost with several workers, begins
 * when nothing else is held, so that whatever it does to this process it does alone.
 */
import { windowPerSlot } from '../contract/limits.ts'
import { withoutContent } from './error-content.ts'
import { type JobCourseContext, seeThrough } from './job-course.ts'
import type { JobOutcome, JobRun } from './job-run.ts'
import { chooseLanes } from './lane-choice.ts'
import type { FetchedJob, LaneQueues } from './lane-queues.ts'
import type { Locks } from './locks.ts'
import { untilAnswered } from './redis-link.ts'
import { Signal } from './signal.ts'

export interface ConsumerContext extends JobCourseContext {
  readonly queues: LaneQueues
  readonly locks: Locks
  readonly slots: number
  readonly ownedLanes: () => ReadonlySet<number>
  /** Should a wake-up be lost, the lanes are looked at after this long. */
  readonly pollMs: number
  /** Losses after which a job runs alone; a negative control never lets one. */
  readonly suspectStalledCount: number
}

interface HeldJob {
  readonly fetched: FetchedJob
  readonly isSuspect: boolean
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
  /** Nothing is taken any more; what is held may end. */
  #isDraining = false
  #isStopping = false
  readonly #drained = Promise.withResolvers<void>()

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

  /** Fetches until `stop`; a cut link is waited for. @throws RedisGone. */
  async run(): Promise<void> {
    const { queues, ownedLanes, pollMs, redisDeadlineMs } = this.#context
    while (!this.#isDraining) {
      const room = this.#room()
      if (room === 0 || !this.#mayFind) {
        await this.#signal.wait(pollMs)
        this.#mayFind = true
        continue
      }
      this.#mayFind = false
      const lanes = await untilAnswered(() => queues.waiting(room + 1), redisDeadlineMs)
      const chosen = chooseLanes(lanes, ownedLanes(), room)
      const taken = await Promise.all(chosen.map((lane) => this.#take(lane)))
      // Where nothing can be taken (Redis is full, a lane paused by hand), looking again at once would not help.
      this.#mayFind ||= taken.includes(true) && lanes.flat().length > chosen.length
    }
  }

  /** Takes nothing more and gives back what has not begun. Resolves when the rest has ended. */
  async drain(): Promise<void> {
    this.#isDraining = true
    this.#signal.notify()
    this.#context.loop.drain()
    if (this.#held.size > 0) await this.#drained.promise
  }

  /** Gives every held job back to its lane; the log tells the next worker how far it came. */
  async stop(): Promise<void> {
    this.#isDraining = true
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

  /** Whether there was a job. Never rejects: one whose fetch was cut off is found by the stalled check. */
  async #take(lane: number): Promise<boolean> {
    const { queues, locks, log, suspectStalledCount } = this.#context
    try {
      const fetched = await queues.fetch(lane)
      if (fetched === null) return false
      // Fetched beside a suspect, which must stay alone, or too late.
      if (this.#isDraining || this.#suspect !== null) {
        await queues.handBack(fetched)
        return true
      }
      const isSuspect = fetched.stalledCount >= suspectStalledCount && !fetched.isGivenUp
      const job: HeldJob = { fetched, isSuspect, run: null, prepared: null }
      if (isSuspect) this.#suspect = job
      this.#held.add(job)
      locks.hold(fetched)
      // A suspect begins when the others have left.
      if (!isSuspect || this.#held.size === 1) void this.#process(job)
      return true
    } catch (error) {
      log.warn({ lane, err: withoutContent(error) }, 'cannot fetch')
      return false
    }
  }

  /** Never rejects. */
  async #process(job: HeldJob): Promise<void> {
    const { queues, locks, log } = this.#context
    const { fetched, isSuspect } = job
    const { promise, resolve } = Promise.withResolvers<void>()
    job.prepared = promise
    try {
      const outcome = await seeThrough(this.#context, fetched, {
        isIsolated: isSuspect,
        mayRun: () => !this.#isStopping,
        onRun: (run) => {
          job.run = run
          resolve()
        },
      })
      // A lock that goes with its job is not lost.
      locks.release(fetched)
      if (!this.#isStopping) await this.#letGo(fetched, outcome) // else `stop` does
    } catch (error) {
      // Its lock expires and the janitor passes it on: counted, so that it cannot go round for ever.
      log.error({ jobId: fetched.jobId, err: withoutContent(error) }, 'a job was left to takeover')
      queues.forget(fetched)
    } finally {
      resolve()
      this.#forget(job)
    }
  }

  async #letGo(fetched: FetchedJob, outcome: JobOutcome): Promise<void> {
    const { queues } = this.#context
    if (outcome.kind === 'abandoned') queues.forget(fetched)
    else if (outcome.kind === 'handed-back') await queues.handBack(fetched)
    else if (outcome.kind === 'ended' && outcome.status === 'failed') await queues.fail(fetched, 'failed: see record')
    else await queues.complete(fetched)
  }

  #forget(job: HeldJob): void {
    this.#context.locks.release(job.fetched)
    this.#held.delete(job)
    if (this.#isDraining && this.#held.size === 0) this.#drained.resolve()
    if (this.#suspect === job) this.#suspect = null
    else if (this.#suspect !== null && this.#held.size === 1) void this.#process(this.#suspect)
    this.#mayFind = true
    this.notice()
  }
}
