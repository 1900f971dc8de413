/**
 * Why a command cannot go on, told to a person: what happened and the way out. It knows no cause in particular.
 */

export class Failure extends Error {
  override readonly name = 'Failure'
  /** What the person can do about it; may have several lines. */
  readonly wayOut: string

  constructor(message: string, wayOut: string, options?: ErrorOptions) {
    super(message, options)
    this.wayOut = wayOut
  }
}

/** What to print for whatever was thrown; an error we did not foresee keeps its stack, which is the way out of a bug. */
export function describeFailure(error: unknown): string {
  if (error instanceof Failure) return `\n  ✗ ${indent(error.message)}\n\n    ${indent(error.wayOut)}\n`
  return `\n  ✗ ${indent(error instanceof Error ? (error.stack ?? error.message) : String(error))}\n`
}

function indent(text: string): string {
  return text.trimEnd().replaceAll('\n', '\n    ')
}
