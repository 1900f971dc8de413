/**
 * Jinja with an end: a template rendered within bounds of steps, time and output.
 *
 * Templates are code of the model's folder; what they are fed comes from clients. It does not know chats or tokens.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja'

const STEPS_MAX = 1_000_000
const RENDER_MS_MAX = 1_000
const OUTPUT_CHARACTERS_MAX = 16 << 20
const RANGE_MAX = 100_000

/** A bound was met. What it says holds nothing of the template's input. */
export class BoundError extends Error {
  override readonly name = 'BoundError'
}

/** A parsed template: the library's tree, opaque to us but for its string literals. */
export type JinjaProgram = object

/** Throws the library's errors for what is not a template. */
export function parseJinja(source: string): JinjaProgram {
  // The library's declarations of the tree do not resolve under Node's module rules.
  return new Template(source).parsed as JinjaProgram
}

/** Rewrites every string literal of a parsed template, the text between its tags included. */
export function replaceLiterals(node: unknown, replace: (literal: string) => string): void {
  if (node instanceof Map) {
    for (const [key, value] of node) {
      replaceLiterals(key, replace)
      replaceLiterals(value, replace)
    }
  } else if (typeof node === 'object' && node !== null) {
    if ('type' in node && node.type === 'StringLiteral' && 'value' in node && typeof node.value === 'string') {
      node.value = replace(node.value)
      return
    }
    for (const child of Object.values(node)) replaceLiterals(child, replace)
  }
}

/** Throws BoundError, and whatever the template or the library throws. */
export function renderJinja(program: JinjaProgram, variables: Readonly<Record<string, unknown>>): string {
  const environment = new JinjaEnvironment()
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value)
  const { value } = new BoundedInterpreter(environment).run(program)
  return typeof value === 'string' ? value : ''
}

interface JinjaVariables {
  set(name: string, value: unknown): unknown
}

interface JinjaInterpreter {
  run(program: JinjaProgram): { readonly value: unknown }
  evaluate(node: unknown, variables: unknown): { readonly value: unknown }
}

// Stated here because the library's own declarations do not resolve under Node's module rules.
const JinjaEnvironment = Environment as new () => JinjaVariables
const LibraryInterpreter = Interpreter as new (variables: JinjaVariables) => JinjaInterpreter

class BoundedInterpreter extends LibraryInterpreter {
  #steps = 0
  readonly #deadlineMs = performance.now() + RENDER_MS_MAX

  override evaluate(node: unknown, variables: unknown): { readonly value: unknown } {
    this.#steps += 1
    if (this.#steps > STEPS_MAX) throw new BoundError(`it takes more than ${STEPS_MAX} steps`)
    if (performance.now() > this.#deadlineMs) throw new BoundError(`it takes longer than ${RENDER_MS_MAX} ms`)
    const result = super.evaluate(node, variables)
    if (typeof result.value === 'string' && result.value.length > OUTPUT_CHARACTERS_MAX) {
      throw new BoundError(`it makes more than ${OUTPUT_CHARACTERS_MAX} characters`)
    }
    return result
  }
}

const globals = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception: (message: unknown): never => {
    throw new Error(String(message))
  },
  range: (first: number, second?: number, step = 1): number[] => {
    const [start, end] = second === undefined ? [0, first] : [first, second]
    const length = Math.max(0, Math.ceil((end - start) / step))
    if (!(length <= RANGE_MAX)) throw new BoundError(`a range is longer than ${RANGE_MAX}`)
    return Array.from({ length }, (_, index) => start + index * step)
  },
  // A prompt that depends on the clock would differ when another worker takes the job over.
  strftime_now: (): never => {
    throw new BoundError('it asks for the date, which is not supported yet')
  },
}
