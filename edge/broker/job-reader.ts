/**
 * One reader of one token log: a byte stream of its lines, each once and in order.
 *
 * It holds a place in the log, a flag, and a few live entries that nobody has taken yet. In every case but the plain one
 * (behind, gap, slow, back after an outage) the log itself is read from that place on. It knows no client and not why it
 * is told to look.
 */
import type { ErrorFacts } from '../../contract/errors.ts'
import type { JobId } from '../../contract/ids.ts'
import { brokenMark } from './protocol.ts'

export interface LogPage {
  /** Consecutive entries as JSON, by their place in the log. */
  readonly entries: readonly { readonly sequence: number; readonly json: string }[]
  /** Neither entries nor a record: the job is lost. */
  readonly isGone: boolean
}

export interface LogSource {
  /** Entries after `sequence`, at most `pageEntriesMax`; null when Redis cannot be reached now. Never rejects. */
  readonly page: (jobId: JobId, after: number) => Promise<LogPage | null>
}

export const pageEntriesMax = 256
/** Live entries held for a reader that is busy. More than this is left in the log. */
const aheadEntriesMax = 32

const utf8 = new TextEncoder()
const goneError: ErrorFacts = { code: 'worker_failed', message: 'The request was lost. Send it again.', param: null }

export class JobReader {
  readonly jobId: JobId
  readonly stream: ReadableStream<Uint8Array>
  readonly #source: LogSource
  readonly #onLeave: (reader: JobReader) => void
  /** Entries up to here have been passed on, or wait in `ahead`. */
  #sequence = 0
  /** Highest place heard of. */
  #newest = 0
  #mustLook: boolean
  /** The last look found Redis away. */
  #isCutOff = false
  #ahead: string[] = []
  #failure: ErrorFacts | null = null
  #hasEnded = false
  #hasLeft = false
  #wake: (() => void) | null = null

  /** @param isNew nothing has been logged yet and the shard's channel is subscribed: then live entries suffice. */
  constructor(jobId: JobId, isNew: boolean, source: LogSource, onLeave: (reader: JobReader) => void) {
    this.jobId = jobId
    this.#mustLook = !isNew
    this.#source = source
    this.#onLeave = onLeave
    this.stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.leave() },
      // No chunk is made before it is asked for: what a slow reader has not taken stays in the log.
      { highWaterMark: 0 },
    )
  }

  /** Whether the end of the log was reached: then leaving abandons nothing. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** A live entry was published. */
  hear(sequence: number, json: string): void {
    if (sequence <= this.#sequence) return
    this.#newest = Math.max(this.#newest, sequence)
    const isNext = sequence === this.#sequence + 1 && this.#ahead.length < aheadEntriesMax
    if (isNext && !this.#mustLook) this.#ahead.push(this.#advance(sequence, json))
    else this.#mustLook = true
    this.#resume()
  }

  /** The log may hold more than was heard. */
  look(): void {
    this.#mustLook = true
    this.#resume()
  }

  /** Ends the stream with a reason instead of the log's end. Counts as left at once: who does not read is not waited for. */
  fail(error: ErrorFacts): void {
    this.#failure ??= error
    this.#onLeave(this)
    this.#resume()
  }

  /** The other end is gone. */
  leave(): void {
    this.#hasLeft = true
    this.fail(goneError)
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const { text, isLast } = await this.#next()
    if (this.#hasLeft) return
    controller.enqueue(utf8.encode(text))
    if (!isLast) return
    this.#onLeave(this)
    controller.close()
  }

  /** What is to be passed on next: what came live, what stands in the log, or why there is no more. */
  async #next(): Promise<{ text: string; isLast: boolean }> {
    for (;;) {
      if (this.#failure !== null) return { text: `${brokenMark}${JSON.stringify(this.#failure)}\n`, isLast: true }
      const lines = this.#ahead.length === 0 && this.#mustLook ? await this.#read() : this.#ahead.splice(0)
      if (lines.length > 0) return { text: lines.join(''), isLast: this.#hasEnded }
      if (this.#failure !== null || (this.#mustLook && !this.#isCutOff)) continue
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** What is due stays due while Redis is away: whoever is told that it is back looks again. */
  async #read(): Promise<string[]> {
    // What was heard of before now stands in the log; what is heard from now on may not be on this page.
    this.#newest = this.#sequence
    const page = await this.#source.page(this.jobId, this.#sequence)
    this.#isCutOff = page === null
    if (page === null) return []
    if (page.isGone) this.fail(goneError)
    const lines = page.entries.map(({ sequence, json }) => this.#advance(sequence, json))
    this.#mustLook = lines.length === pageEntriesMax || this.#newest > this.#sequence
    return lines
  }

  #advance(sequence: number, json: string): string {
    this.#sequence = sequence
    // The end entry is written by one script, which begins it so.
    this.#hasEnded = json.startsWith('{"kind":"end"')
    return `${sequence} ${json}\n`
  }

  #resume(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
