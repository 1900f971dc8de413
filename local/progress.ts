/**
 * Steps on the way to ready, as a person sees them: a line when one is done, with its time; a line while it runs only
 * when it takes long enough to wonder. It knows no step.
 */

/** Quicker steps print one line; slower ones say what they are doing, no more often than this. */
const patienceMs = 1_000
const nameColumns = 16

export type Detail = (text: string) => void

export class Progress {
  readonly #write: (line: string) => void
  readonly #startedAt = performance.now()

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  /**
   * Runs one step.
   * @param work gets a function to say what it is doing; returns its result and the words for the line
   */
  async step<T>(name: string, work: (detail: Detail) => Promise<{ result: T; outcome: string }>): Promise<T> {
    const startedAt = performance.now()
    let current = ''
    let isOver = false
    let shownAt = startedAt
    const show = (): void => {
      clearTimeout(timer)
      shownAt = performance.now()
      this.#line('·', name, secondsSince(startedAt), current === '' ? '…' : `${current} …`)
    }
    const timer = setTimeout(show, patienceMs)
    try {
      const { result, outcome } = await work((text) => {
        current = text
        if (!isOver && performance.now() - shownAt > patienceMs) show()
      })
      this.#line('✓', name, secondsSince(startedAt), outcome)
      return result
    } finally {
      isOver = true // a child that is started again later speaks of its way to ready once more
      clearTimeout(timer)
    }
  }

  /** Something a person should know that is no step. */
  note(text: string): void {
    this.#write(`  ! ${text.replaceAll('\n', '\n    ')}`)
  }

  /** Seconds since this start began, for the closing line. */
  total(): string {
    return secondsSince(this.#startedAt)
  }

  #line(mark: string, name: string, seconds: string, text: string): void {
    this.#write(`  ${mark} ${name.padEnd(nameColumns)} ${seconds.padStart(7)}  ${text}`.trimEnd())
  }
}

function secondsSince(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
}
