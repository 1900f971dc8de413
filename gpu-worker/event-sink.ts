/**
 * Writes one job's token log: in order, one entry under way at a time, repeated until Redis answers, and at last the end.
 *
 * It does not know what tokens mean or where they come from. While Redis is slow, tokens that wait are joined into one
 * entry; whoever makes them watches `backlogCount` and pauses.
 */
import assert from 'node:assert/strict'
import type { LogEntry, TokenEntry } from '../contract/event.ts'
import type { JobId } from '../contract/ids.ts'
import type { AppendResult, Ending, JobScripts } from '../contract/scripts.ts'
import { untilAnswered } from './redis-link.ts'

export interface SinkListener {
  /** Told at an append: somebody asked for the job's end. */
  readonly onCancelled: () => void
  /** The log is no longer ours to write: another epoch, an ended or vanished job, or (a bug) another content. */
  readonly onRefused: (code: Exclude<AppendResult['code'], 'ok'>) => void
  /** Redis stayed away, or answered what no script of ours answers. */
  readonly onFailed: (error: unknown) => void
}

export interface SinkJob {
  readonly jobId: JobId
  readonly epoch: number
  /** Entries in the log when the job was claimed. */
  readonly entryCount: number
}

export class EventSink {
  readonly #scripts: JobScripts
  readonly #job: SinkJob
  readonly #listener: SinkListener
  readonly #deadlineMs: number
  /** Not yet acknowledged; the first is under way whenever `#writing` is set. */
  readonly #entries: LogEntry[] = []
  #entryCount: number
  #writing: Promise<void> | null = null
  /** The append under way. */
  #sending: Promise<void> | null = null
  #isClosed = false

  constructor(scripts: JobScripts, job: SinkJob, deadlineMs: number, listener: SinkListener) {
    this.#scripts = scripts
    this.#job = job
    this.#deadlineMs = deadlineMs
    this.#listener = listener
    this.#entryCount = job.entryCount
  }

  /** Tokens not yet acknowledged by Redis. */
  get backlogCount(): number {
    return this.#entries.reduce((count, entry) => count + (entry.kind === 'token' ? entry.tokenIds.length : 0), 0)
  }

  /** Resolves when the writing that goes on now has come to rest; null when none does. */
  get writing(): Promise<void> | null {
    return this.#writing
  }

  /** Resolves when fewer than `tokenCount` tokens wait, or nobody will write them any more. */
  async relief(tokenCount: number): Promise<void> {
    while (this.#writing !== null && this.backlogCount >= tokenCount) await this.#sending?.catch(() => undefined)
  }

  append(entry: LogEntry): void {
    if (this.#isClosed) return
    const last = this.#entries.at(-1)
    // What is under way is never changed: it may be stored already.
    const isWaiting = this.#entries.length > 1 || this.#writing === null
    if (isWaiting && last?.kind === 'token' && entry.kind === 'token' && isContinued(last, entry)) {
      this.#entries[this.#entries.length - 1] = join(last, entry)
    } else this.#entries.push(entry)
    this.#writing ??= this.#write()
  }

  /** Ends the job behind everything appended; null when the log was refused or closed before. */
  async finish(ending: Ending): Promise<'ok' | 'fenced' | 'missing' | null> {
    while (this.#writing !== null) await this.#writing
    if (this.#isClosed) return null
    this.#isClosed = true
    const { jobId, epoch } = this.#job
    return untilAnswered(() => this.#scripts.finish(jobId, epoch, ending), this.#deadlineMs)
  }

  /** Nothing more is begun; what is under way may still arrive. */
  close(): void {
    this.#isClosed = true
    this.#entries.length = 0
  }

  async #write(): Promise<void> {
    // Not before the caller's tick ends: the entries of one step leave together.
    await Promise.resolve()
    try {
      for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
        this.#sending = this.#send(entry)
        await this.#sending
      }
    } catch (error) {
      this.close()
      this.#listener.onFailed(error)
    } finally {
      this.#writing = null
    }
  }

  async #send(entry: LogEntry): Promise<void> {
    const { jobId, epoch } = this.#job
    const sequence = this.#entryCount + 1
    const { code, isCancelled } = await untilAnswered(
      () => this.#scripts.append(jobId, epoch, sequence, entry),
      this.#deadlineMs,
    )
    if (this.#isClosed) return
    if (code !== 'ok') {
      this.close()
      this.#listener.onRefused(code)
      return
    }
    assert.equal(this.#entries[0], entry, 'An entry under way was changed')
    this.#entries.shift()
    this.#entryCount = sequence
    if (isCancelled) this.#listener.onCancelled()
  }
}

function isContinued(last: TokenEntry, next: TokenEntry): boolean {
  return last.choice === next.choice && last.channel === next.channel
}

function join(last: TokenEntry, next: TokenEntry): TokenEntry {
  assert.equal(next.index, last.index + last.tokenIds.length, 'Tokens are appended in order')
  const joined = { ...last, tokenIds: [...last.tokenIds, ...next.tokenIds], text: last.text + next.text }
  const { logProbs } = next
  return logProbs === undefined ? joined : { ...joined, logProbs: [...(last.logProbs ?? []), ...logProbs] }
}
