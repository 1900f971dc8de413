/**
 * One reader of one token log: a byte stream of its lines, each once and in order.
 *
 * It holds a place in the log and a flag, never a backlog. A live entry that is the next one goes straight through when
 * the other end is waiting for it; in every other case (behind, gap, slow, back after an outage) the log itself is read
 * from the place on. It knows no client and not why it is told to look.
 */
import type { ErrorFacts } from '../../contract/errors.ts'
import type { JobId } from '../../contract/ids.ts'
import { brokenMark, type Opening } from './protocol.ts'

export interface LogPage {
  /** Consecutive entries as JSON, by their place in the log. */
  readonly entries: readonly { readonly sequence: number; readonly json: string }[]
  /** Neither entries nor a record: the job is lost. */
  readonly isGone: boolean
}

export interface LogSource {
  /** Entries after `sequence`, at most `pageEntriesMax`; null when Redis cannot be reached now. */
  readonly page: (jobId: JobId, after: number) => Promise<LogPage | null>
}

export const pageEntriesMax = 256

const utf8 = new TextEncoder()
const goneError: ErrorFacts = { code: 'worker_failed', message: 'The request was lost. Send it again.', param: null }

export class JobReader {
  readonly jobId: JobId
  readonly stream: ReadableStream<Uint8Array>
  readonly #source: LogSource
  readonly #onLeave: (reader: JobReader) => void
  /** Entries up to here have been passed on. */
  #sequence = 0
  /** Highest place heard of. */
  #newest = 0
  #mustLook: boolean
  #head: string | null
  #failure: ErrorFacts | null = null
  #hasEnded = false
  #isOver = false
  #hasLeft = false
  #wake: ((line: string | null) => void) | null = null

  /** @param isNew nothing has been logged yet and the shard's channel is subscribed: then live entries suffice. */
  constructor(jobId: JobId, isNew: boolean, source: LogSource, onLeave: (reader: JobReader) => void) {
    this.jobId = jobId
    this.#mustLook = !isNew
    this.#head = null
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

  /** First line of the stream. To be set before the stream is read. */
  open(opening: Opening): void {
    this.#head = `${JSON.stringify(opening)}\n`
  }

  /** A live entry was published. */
  hear(sequence: number, json: string): void {
    if (sequence <= this.#sequence) return
    this.#newest = Math.max(this.#newest, sequence)
    if (sequence === this.#sequence + 1 && this.#wake !== null && !this.#mustLook) {
      this.#advance(sequence, json)
      this.#resume(lineOf(sequence, json))
    } else {
      this.look()
    }
  }

  /** The log may hold more than was heard. */
  look(): void {
    this.#mustLook = true
    this.#resume(null)
  }

  /** Ends the stream with a reason instead of the log's end. */
  fail(error: ErrorFacts): void {
    this.#failure ??= error
    this.#resume(null)
  }

  /** The other end is gone. */
  leave(): void {
    this.#hasLeft = true
    this.#onLeave(this)
    this.fail(goneError)
  }

  #advance(sequence: number, json: string): void {
    this.#sequence = sequence
    this.#hasEnded = isEndEntry(json)
    this.#isOver = this.#hasEnded
  }

  #resume(line: string | null): void {
    const wake = this.#wake
    this.#wake = null
    wake?.(line)
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const text = await this.#next()
    if (this.#hasLeft) return
    const head = this.#head ?? ''
    this.#head = null
    controller.enqueue(utf8.encode(head + text))
    if (!this.#isOver) return
    this.#onLeave(this)
    controller.close()
  }

  async #next(): Promise<string> {
    if (this.#head !== null) return ''
    for (;;) {
      if (this.#failure !== null) {
        this.#isOver = true
        return `${brokenMark}${JSON.stringify(this.#failure)}\n`
      }
      const text = this.#mustLook ? await this.#read() : null
      if (text !== null) return text
      if (this.#failure !== null || this.#mustLook) continue
      const live = await new Promise<string | null>((resolve) => {
        this.#wake = resolve
      })
      if (live !== null) return live
    }
  }

  /** @returns null when there is nothing new in the log. */
  async #read(): Promise<string | null> {
    this.#mustLook = false
    const page = await this.#source.page(this.jobId, this.#sequence)
    if (page === null) {
      await this.#told()
      return null
    }
    if (page.isGone) this.fail(goneError)
    const last = page.entries.at(-1)
    if (last === undefined) return null
    this.#advance(last.sequence, last.json)
    this.#mustLook = page.entries.length === pageEntriesMax || this.#newest > this.#sequence
    return page.entries.map(({ sequence, json }) => lineOf(sequence, json)).join('')
  }

  /** Redis is away: waits for word that it is back, or that the wait is over. */
  async #told(): Promise<void> {
    this.#mustLook = true
    if (this.#failure !== null) return
    await new Promise<string | null>((resolve) => {
      this.#wake = resolve
    })
  }
}

function lineOf(sequence: number, json: string): string {
  return `${sequence} ${json}\n`
}

/** The end entry is written by one script, which begins it so. */
function isEndEntry(json: string): boolean {
  return json.startsWith('{"kind":"end"')
}
