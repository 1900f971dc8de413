/**
 * Keeps the BullMQ locks of the jobs a worker holds, on a timer of its own and so off the step's path.
 *
 * A lost lock stops nothing here: it lets another worker take the job over, and then the epoch fences this one.
 */
import type { Logger } from 'pino'
import type { FetchedJob, LaneQueues } from './lane-queues.ts'

export class Locks {
  readonly #queues: LaneQueues
  readonly #log: Logger
  readonly #held = new Set<FetchedJob>()
  readonly #timer: NodeJS.Timeout
  #isRenewing = false

  constructor(queues: LaneQueues, renewMs: number, log: Logger) {
    this.#queues = queues
    this.#log = log
    this.#timer = setInterval(() => void this.#renew(), renewMs)
  }

  hold(job: FetchedJob): void {
    this.#held.add(job)
  }

  release(job: FetchedJob): void {
    this.#held.delete(job)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #renew(): Promise<void> {
    // The round before still waits for Redis: it will have renewed what this one would.
    if (this.#isRenewing || this.#held.size === 0) return
    this.#isRenewing = true
    try {
      for (const job of await this.#queues.extendLocks([...this.#held])) {
        // What was released between the call and its answer was not lost.
        if (this.#held.delete(job)) this.#log.warn({ jobId: job.jobId }, 'lost the lock of a job')
      }
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot renew locks')
    } finally {
      this.#isRenewing = false
    }
  }
}
