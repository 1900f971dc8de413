/**
 * Jinja with an end: a template rendered within bounds of steps, time and memory.
 *
 * Templates are code of the model's folder; what they are fed comes from clients. It does not know chats or tokens.
 */
import { Template } from '@huggingface/jinja'
import { BoundedInterpreter, JinjaEnvironment } from './jinja-interpreter.ts'
import { BoundError } from './jinja-weight.ts'

export { BoundError } from './jinja-weight.ts'

const RANGE_MAX = 100_000
/** Four times the longest template known. */
const SOURCE_CHARACTERS_MAX = 128 << 10
/** The library looks through a run of white space from each of its characters on. */
const WHITE_SPACE_RUN_MAX = 1024

/** A parsed template: the library's tree, opaque to us but for its string literals. */
export type JinjaProgram = object

/** Throws BoundError, and the library's errors for what is not a template. */
export function parseJinja(source: string): JinjaProgram {
  if (source.length > SOURCE_CHARACTERS_MAX)
    throw new BoundError(`it is longer than ${SOURCE_CHARACTERS_MAX} characters`)
  let run = 0
  for (let at = 0; at < source.length; at++) {
    run = isSpace(source.charCodeAt(at)) ? run + 1 : 0
    if (run > WHITE_SPACE_RUN_MAX) throw new BoundError(`it has more than ${WHITE_SPACE_RUN_MAX} white spaces in a row`)
  }
  // The library's declarations of the tree do not resolve under Node's module rules.
  return new Template(source).parsed as JinjaProgram
}

function isSpace(code: number): boolean {
  return code <= 0x20 || (code >= 0x80 && /\s/.test(String.fromCharCode(code)))
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
export function renderJinja(
  program: JinjaProgram,
  variables: Readonly<Record<string, unknown>>,
  msMax: number,
): string {
  const environment = new JinjaEnvironment()
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value)
  const { value } = new BoundedInterpreter(environment, msMax).run(program)
  return typeof value === 'string' ? value : ''
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
