/**
 * Where a list repeats itself: the layers of a step among its kernels. Knows neither.
 */

export interface Repetition {
  readonly start: number
  readonly period: number
  /** How often it stands there, one behind the other: at least twice. */
  readonly repeats: number
}

/** The repetition that covers most of the list, of the shortest period among equals; null where nothing repeats. */
export function longestRepetition(names: readonly string[], periodMin: number): Repetition | null {
  let best: Repetition | null = null
  for (let period = periodMin; 2 * period <= names.length; period += 1) {
    for (let start = 0; start + 2 * period <= names.length; start += 1) {
      let end = start + period
      while (end < names.length && names[end] === names[end - period]) end += 1
      const repeats = Math.floor((end - start) / period)
      if (repeats >= 2 && repeats * period > (best === null ? 0 : best.repeats * best.period))
        best = { start, period, repeats }
    }
  }
  return best
}
