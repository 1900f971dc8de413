/**
 * Columns to change → the text behind SET and what it binds. A column without a value stays as it is.
 *
 * Names of columns are ours, values never part of the text. It knows no table.
 */
export interface Assignments {
  readonly sql: string
  readonly bindings: readonly (string | number | null)[]
}

export function assignments(columns: Readonly<Record<string, string | number | null | undefined>>): Assignments {
  const changed = Object.entries(columns).flatMap(([column, value]) => (value === undefined ? [] : [{ column, value }]))
  return {
    sql: changed.map(({ column }) => `${column} = ?`).join(', '),
    bindings: changed.map(({ value }) => value),
  }
}
