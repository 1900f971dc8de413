/**
 * The Worker's log: one JSON line an event, to wherever the platform collects console output.
 *
 * It is given facts of ours only. No prompt, key, secret or other text of a tenant may reach it.
 */
export type LogFacts = Readonly<Record<string, string | number | boolean | null>>

export function logWarning(event: string, facts: LogFacts = {}): void {
  // oxlint-disable-next-line no-console -- the platform's log is the console, and this is its one user
  console.warn(JSON.stringify({ level: 'warning', event, ...facts }))
}

export function logError(event: string, error: unknown, facts: LogFacts = {}): void {
  const { name, message } = describe(error)
  // oxlint-disable-next-line no-console -- the platform's log is the console, and this is its one user
  console.error(JSON.stringify({ level: 'error', event, ...facts, name, message }))
}

/** A parser's message may quote its input, which is a tenant's: then the name has to do. */
function describe(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: typeof error, message: '' }
  const mayQuoteInput = error.name === 'ZodError' || error.name === 'SyntaxError'
  return { name: error.name, message: mayQuoteInput ? '' : error.message }
}
