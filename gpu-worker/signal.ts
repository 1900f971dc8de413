/** A latch between one waiter and many notifiers: a notice given while nobody waits is kept, not counted. */

export class Signal {
  #isSet = false
  #wake: (() => void) | null = null

  notify(): void {
    this.#isSet = true
    this.#wake?.()
  }

  /** Resolves at the next notice, or at once when one is kept; after `timeoutMs` at the latest. One waiter at a time. */
  async wait(timeoutMs: number | null = null): Promise<void> {
    if (!this.#isSet) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        if (timeoutMs !== null) timer = setTimeout(resolve, timeoutMs)
      })
      clearTimeout(timer)
      this.#wake = null
    }
    this.#isSet = false
  }
}
