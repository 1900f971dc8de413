/**
 * The one error of everything that reads a checkpoint folder: which file, which thing in it, what was expected.
 *
 * It does not know who reads or why; the process that loads a model prints the message and exits.
 */

/** Longest piece of a file's own text that a message repeats. */
const QUOTE_LENGTH_MAX = 120

export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
  /** The file's name inside the folder. */
  readonly file: string

  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`Cannot load ${file}: ${problem}`, options)
    this.file = file
  }
}

/** A name or value out of a file, safe to print: bounded, and nothing in it steers a terminal. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  const bounded = text.length <= QUOTE_LENGTH_MAX ? text : `${text.slice(0, QUOTE_LENGTH_MAX)}…`
  return bounded.replaceAll(/[\p{Cc}\p{Cf}]/gu, escaped)
}

/** A name out of a file as it is when it is a usual one, `model.layers.0.mlp`, else quoted. */
export function nameOrQuote(name: PropertyKey): string {
  const text = String(name)
  return text.length <= QUOTE_LENGTH_MAX && /^[\w.-]+$/.test(text) ? text : quote(text)
}

/** JSON leaves DEL, C1 and marks of direction as they are. */
function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}
