/**
 * All readers of a Broker, by job: fans live entries out, sees to it that no wait is endless, and tells when the last
 * reader of a job has left before its end.
 *
 * It knows neither Redis nor why readers leave.
 */
import type { ErrorFacts } from '../../contract/errors.ts'
import { splitLiveMessage } from '../../contract/event.ts'
import type { JobId } from '../../contract/ids.ts'
import { jobAgeMaxMs } from '../../contract/limits.ts'
import { JobReader, type LogSource } from './job-reader.ts'

/** A reader looks into its log at least this often: whatever message was lost, no token is late by more. */
export const sweepMs = 5_000
/** An outage of Redis that streams sit out. */
export const outageMaxMs = 30_000
/** The janitor ends a job at its age cap; a reader that has not heard of it by then is on its own. */
const waitMaxMs = jobAgeMaxMs + 60_000

const outageError: ErrorFacts = {
  code: 'queue_unavailable',
  message: 'The request queue could not be reached for too long.',
  param: null,
}
const overdueError: ErrorFacts = { code: 'job_expired', message: 'The request took too long.', param: null }

interface Audience {
  /** When each of them came. Not when the job did: its log may be read again for a day. */
  readonly readers: Map<JobReader, number>
  /** What to do when the last reader leaves before the end: wait this long for another, then give the job up. */
  readonly graceMs: number
  timer: ReturnType<typeof setTimeout> | null
}

export class Readers {
  readonly #audiences = new Map<string, Audience>()
  readonly #source: LogSource
  readonly #onAbandoned: (jobId: JobId) => void
  readonly #downSinceMs: () => number | null
  #sweeper: ReturnType<typeof setInterval> | null = null

  /** @param downSinceMs since when Redis cannot be reached; null while it can. */
  constructor(source: LogSource, onAbandoned: (jobId: JobId) => void, downSinceMs: () => number | null) {
    this.#source = source
    this.#onAbandoned = onAbandoned
    this.#downSinceMs = downSinceMs
  }

  get isEmpty(): boolean {
    return this.#audiences.size === 0
  }

  /** @param graceMs of the job; the first reader's counts. */
  add(jobId: JobId, graceMs: number, isNew: boolean): JobReader {
    const reader = new JobReader(jobId, isNew, this.#source, (leaving) => this.#remove(leaving))
    const audience = this.#audiences.get(jobId) ?? { readers: new Map<JobReader, number>(), graceMs, timer: null }
    if (audience.timer !== null) clearTimeout(audience.timer)
    audience.timer = null
    audience.readers.set(reader, Date.now())
    this.#audiences.set(jobId, audience)
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs)
    return reader
  }

  /** Forgets a reader whose job never came to be: nothing is abandoned. */
  discard(reader: JobReader): void {
    this.#audiences.get(reader.jobId)?.readers.delete(reader)
    this.#forgetIfEmpty(reader.jobId)
  }

  /** @param message of a live channel; its entry is passed on as it is. */
  hear(message: string): void {
    const { jobId, sequence, json } = splitLiveMessage(message)
    for (const reader of this.#audiences.get(jobId)?.readers.keys() ?? []) reader.hear(sequence, json)
  }

  lookAll(): void {
    for (const { readers } of this.#audiences.values()) for (const reader of readers.keys()) reader.look()
  }

  #sweep(): void {
    const nowMs = Date.now()
    const downSinceMs = this.#downSinceMs()
    const isOutage = downSinceMs !== null && nowMs - downSinceMs > outageMaxMs
    for (const { readers } of this.#audiences.values()) {
      for (const [reader, sinceMs] of readers) {
        if (nowMs - sinceMs > waitMaxMs) reader.fail(overdueError)
        else if (isOutage) reader.fail(outageError)
        else reader.look()
      }
    }
  }

  #remove(reader: JobReader): void {
    const audience = this.#audiences.get(reader.jobId)
    if (audience?.readers.delete(reader) !== true || audience.readers.size > 0) return
    if (reader.hasEnded) {
      this.#forgetIfEmpty(reader.jobId)
      return
    }
    if (audience.graceMs === 0) {
      this.#abandon(reader.jobId)
      return
    }
    audience.timer = setTimeout(() => this.#abandon(reader.jobId), audience.graceMs)
  }

  #abandon(jobId: JobId): void {
    this.#forgetIfEmpty(jobId)
    this.#onAbandoned(jobId)
  }

  #forgetIfEmpty(jobId: JobId): void {
    const audience = this.#audiences.get(jobId)
    if (audience !== undefined && audience.readers.size === 0) {
      if (audience.timer !== null) clearTimeout(audience.timer)
      this.#audiences.delete(jobId)
    }
    if (this.isEmpty && this.#sweeper !== null) {
      clearInterval(this.#sweeper)
      this.#sweeper = null
    }
  }
}
