/** How a plan writes numbers and tables: few digits, right-aligned columns. Knows no plan. */

/** 518,983,059,456 */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** Gigabytes of 10⁹ bytes, two digits after the point; as many as a small model needs. */
export function gigabytes(bytes: number): string {
  const value = bytes / 1e9
  return value.toLocaleString(
    'en',
    value !== 0 && Math.abs(value) < 0.095 ? { maximumSignificantDigits: 2 } : TWO_DIGITS,
  )
}

const TWO_DIGITS = { minimumFractionDigits: 2, maximumFractionDigits: 2 }

/** The same in few characters: 0.0049, 0.42, 54.2, 5,420. */
export function briefGigabytes(bytes: number): string {
  return bytes < 0.095e9 ? gigabytes(bytes) : brief(bytes / 1e9)
}

/** At most five characters: 0.05, 5.42, 54.2, 542, 5,420, 54.2k, 542k. */
export function brief(value: number): string {
  if (value < 9.995) return value.toFixed(2)
  if (value < 99.95) return value.toFixed(1)
  if (value < 9999.5) return whole(value)
  if (value < 99_950) return `${(value / 1000).toFixed(1)}k`
  return value < 999_500 ? `${whole(value / 1000)}k` : `${brief(value / 1e6)}M`
}

/** 0.42 s, 5.4 s, 54 s, 9 min */
export function duration(seconds: number): string {
  if (seconds < 0.9995) return `${(seconds * 1000).toPrecision(3)} ms`
  if (seconds < 99.5) return `${seconds.toPrecision(3)} s`
  return seconds < 5970 ? `${whole(seconds / 60)} min` : `${brief(seconds / 3600)} h`
}

/** A column's width; negative: text that is aligned left. */
export type Width = number

export function row(widths: readonly Width[], cells: readonly string[]): string {
  const padded = cells.map((cell, i) => {
    const width = widths[i] ?? 0
    return width < 0 ? cell.padEnd(-width) : cell.padStart(width)
  })
  return padded.join('').trimEnd()
}
