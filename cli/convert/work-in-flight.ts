/** Promises under way, at most so many: whoever adds one waits for room, and hears of the first that failed. */

export class WorkInFlight {
  readonly #countMax: number
  readonly #pending = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | null = null

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** Returns when there is room for more. Throws the first failure of any work added so far. */
  async add(work: Promise<void>): Promise<void> {
    const settled: Promise<void> = work
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#pending.delete(settled))
    this.#pending.add(settled)
    while (this.#pending.size >= this.#countMax) await Promise.race(this.#pending)
    this.#throwFailure()
  }

  /** Waits for all; throws the first failure. */
  async drain(): Promise<void> {
    await this.settle()
    this.#throwFailure()
  }

  /** Waits for all, however they end. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending)
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure.error
  }
}
