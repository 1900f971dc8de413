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

/** A name or value out of a file, safe to print: escaped and bounded. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= QUOTE_LENGTH_MAX ? text : `${text.slice(0, QUOTE_LENGTH_MAX)}…`
}
