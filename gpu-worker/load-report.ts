/**
 * How loading goes, in lines for a person: every tenth of the weights, every ten seconds where a tenth takes longer, and
 * none more often than each second.
 *
 * Knows no file; whoever loads brings the numbers, whoever listens gets the words.
 */
import { formatBytes } from './model/byte-size.ts'
import type { LoadProgress } from './model/checkpoint-rows.ts'

const PATIENCE_MS = 10_000
const PAUSE_MS = 1000
const LINES_PER_LOAD = 10

export class LoadReport {
  readonly #say: (line: string) => void
  #tenthsTold = 0
  #toldAtMs = 0

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  tell(progress: LoadProgress): void {
    const { bytesDone, bytesTotal, elapsedMs } = progress
    const tenths = Math.floor((bytesDone / bytesTotal) * LINES_PER_LOAD)
    const pauseMs = tenths > this.#tenthsTold ? PAUSE_MS : PATIENCE_MS
    if (elapsedMs - this.#toldAtMs < pauseMs) return
    this.#tenthsTold = tenths
    this.#toldAtMs = elapsedMs
    this.#say(progressLine(progress))
  }
}

/** `40 %, 12.3 GiB of 30.8 GiB, 1.02 GiB/s, 18 s left` */
export function progressLine({ bytesDone, bytesTotal, bytesPerSecond, remainingMs }: LoadProgress): string {
  const percent = Math.floor((bytesDone / bytesTotal) * 100)
  const rate = `${formatBytes(Math.round(bytesPerSecond))}/s`
  const left = Number.isFinite(remainingMs) ? `, ${timeLeft(remainingMs)} left` : ''
  return `${percent} %, ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, ${rate}${left}`
}

/** Rounded up: 18 s, 5 min, 1 h 20 min. */
function timeLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
