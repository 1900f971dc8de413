/**
 * Rows of text as a table for the terminal: columns as wide as their widest cell. It knows nothing of what they say.
 */

const gap = '  '

/** @returns the header and the rows, or `nothing` where there are none. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], nothing: string): string {
  if (rows.length === 0) return nothing
  const lines = [header, ...rows].map((row) => row.map(printable))
  const widths = header.map((_, column) => Math.max(...lines.map((row) => row[column]?.length ?? 0)))
  return lines.map((row) => lineOf(row, widths)).join('\n')
}

/** Names and what they are, one a line. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => lineOf([name, printable(value)], [width])).join('\n')
}

function lineOf(row: readonly string[], widths: readonly number[]): string {
  return row
    .map((cell, column) => cell.padEnd(widths[column] ?? 0))
    .join(gap)
    .trimEnd()
}

/** What another administrator typed steers no terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, '�')
}
