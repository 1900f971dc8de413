/**
 * How far a long copy is: bytes, rate, time left. One line that is written over on a terminal, a line now and then elsewhere.
 *
 * It knows bytes and a clock, not what they are.
 */

/** A terminal's line changes no more often; elsewhere a line a period. */
const TERMINAL_PERIOD_MS = 200
const LOG_PERIOD_MS = 15_000

export interface ProgressOutput {
  readonly isTerminal: boolean
  write(text: string): void
  /** Milliseconds that only grow. */
  now(): number
}

export class ProgressLine {
  readonly #output: ProgressOutput
  readonly #startedMs: number
  #shownMs: number
  /** Bytes that were done before this run: they say nothing of its rate. */
  #bytesBefore: number | null = null
  #isOpen = false

  constructor(output: ProgressOutput) {
    this.#output = output
    this.#startedMs = output.now()
    this.#shownMs = this.#startedMs
  }

  update(bytesDone: number, bytesTotal: number, what: string, bytesNow: number): void {
    this.#bytesBefore ??= bytesDone - bytesNow
    const nowMs = this.#output.now()
    const period = this.#output.isTerminal ? TERMINAL_PERIOD_MS : LOG_PERIOD_MS
    if (nowMs - this.#shownMs < period) return
    this.#shownMs = nowMs
    const bytesPerMs = (bytesDone - this.#bytesBefore) / Math.max(1, nowMs - this.#startedMs)
    const leftMs = bytesPerMs > 0 ? (bytesTotal - bytesDone) / bytesPerMs : Infinity
    const done = `${gigabytes(bytesDone)} of ${gigabytes(bytesTotal)} GB`
    const text = `${done}, ${(bytesPerMs / 1000).toFixed(0)} MB/s, ${duration(leftMs)} left, ${what}`
    this.#output.write(this.#output.isTerminal ? `\r\u001B[K${text}` : `${text}\n`)
    this.#isOpen = this.#output.isTerminal
  }

  /** Leaves the terminal at the start of a clean line. */
  end(): void {
    if (this.#isOpen) this.#output.write('\r\u001B[K')
    this.#isOpen = false
  }
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)
}

function duration(ms: number): string {
  if (!Number.isFinite(ms)) return 'some time'
  const minutes = Math.ceil(ms / 60_000)
  if (minutes <= 1) return `${Math.ceil(ms / 1000)} s`
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
