/** A table as CSV (RFC 4180): a header line, CRLF, quotes where they are needed. It knows no column. */

export type Cell = string | number | boolean | null

/** @param rows objects of equal keys in `columns`; null is an empty field. */
export function csvResponse<Column extends string>(
  columns: readonly Column[],
  rows: readonly Readonly<Record<Column, Cell>>[],
  nextPage: string | null,
): Response {
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))]
  const headers = new Headers({ 'content-type': 'text/csv; charset=utf-8; header=present' })
  // CSV has no place for it.
  if (nextPage !== null) headers.set('x-next-page', nextPage)
  return new Response(lines.map((cells) => `${cells.map(field).join(',')}\r\n`).join(''), { headers })
}

function field(cell: Cell): string {
  const text = cell === null ? '' : String(cell)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
