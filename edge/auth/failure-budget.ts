/**
 * How many unknown keys one address may try in a minute, counted in the isolate.
 *
 * It bounds what trying keys costs the store behind it; it is no protection of the keys, which nobody guesses. It knows
 * neither requests nor keys.
 */
import { putBounded } from '../bounded-map.ts'

/** Tries a window of one address. */
export const failuresMax = 20
export const failureWindowMs = 60_000
const addressesMax = 8_192

interface Window {
  count: number
  readonly endsAtMs: number
}

export class FailureBudget {
  /** Oldest first. */
  readonly #windows = new Map<string, Window>()

  /** How long the address has to wait; 0 = not at all. */
  waitMs(address: string, nowMs: number): number {
    const window = this.#windows.get(address)
    if (window === undefined || window.count < failuresMax) return 0
    return Math.max(0, window.endsAtMs - nowMs)
  }

  spend(address: string, nowMs: number): void {
    const window = this.#windows.get(address)
    if (window !== undefined && nowMs < window.endsAtMs) {
      window.count += 1
      return
    }
    putBounded(this.#windows, address, { count: 1, endsAtMs: nowMs + failureWindowMs }, addressesMax)
  }
}
