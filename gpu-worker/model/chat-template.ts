/**
 * A chat as the model was trained to read it: chat_template.jinja over messages, tools and the thinking switch.
 *
 * Control tokens come from the template alone. Before a template runs, each spelling of one in its own literals is
 * replaced by a mark (U+FDD0 and a private character); what clients send passes with U+FDD0 doubled. After rendering,
 * marks become control tokens and all else is text, so `<|im_start|>` in a message stays text wherever it lands, also
 * when it is put together from two strings. It does not know ids beyond those tokens, nor what a tokenizer does.
 */
import { AppError } from '../../contract/errors.ts'
import { anyOf } from './any-of.ts'
import { BoundError, parseJinja, renderJinja, replaceLiterals, type JinjaProgram } from './bounded-jinja.ts'
import { CheckpointError } from './checkpoint-error.ts'
import type { ControlToken, PromptPiece } from './tokenizer.ts'

/** A message as the template takes it; `ChatMessage` of the contract is one. */
export interface TemplateMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string
  readonly reasoning_content?: string | undefined
  readonly tool_calls?: readonly unknown[] | undefined
  readonly tool_call_id?: string | undefined
  readonly name?: string | undefined
}

export interface Chat {
  readonly messages: readonly TemplateMessage[]
  readonly tools?: readonly unknown[] | undefined
  readonly think: boolean
}

const MARK = '\uFDD0'
const PRIVATE_USE_START = 0xe000
const PRIVATE_USE_END = 0xf900
const NESTING_MAX = 64
const FILE = 'chat_template.jinja'

export class ChatTemplate {
  readonly #program: JinjaProgram
  readonly #literals: ReadonlySet<string>
  readonly #marked: readonly ControlToken[]
  readonly #named: Readonly<Record<string, string>>

  /** `namedTokens`: variables such as `bos_token`. Throws CheckpointError when the source is not a template. */
  constructor(
    source: string,
    controlTokens: ReadonlyMap<string, ControlToken>,
    namedTokens: ReadonlyMap<string, string>,
  ) {
    if (source.includes(MARK)) throw new CheckpointError(FILE, 'the character U+FDD0 is not allowed in it')
    const marked: ControlToken[] = []
    const anyControl = anyOf([...controlTokens.keys()])
    const mark = (literal: string): string =>
      anyControl ? literal.replace(anyControl, (found) => markOf(found)) : literal
    const markOf = (spelling: string): string => {
      const token = controlTokens.get(spelling)
      if (!token) return spelling
      if (!marked.includes(token)) marked.push(token)
      if (marked.length > PRIVATE_USE_END - PRIVATE_USE_START)
        throw new CheckpointError(FILE, 'too many control tokens')
      return MARK + String.fromCharCode(PRIVATE_USE_START + marked.indexOf(token))
    }
    const literals = new Set<string>()
    try {
      this.#program = parseJinja(source)
      replaceLiterals(this.#program, (literal) => {
        literals.add(literal)
        return mark(literal)
      })
    } catch (error) {
      throw new CheckpointError(FILE, 'it is not a template that we can read', { cause: error })
    }
    this.#literals = literals
    this.#named = Object.fromEntries([...namedTokens].map(([name, spelling]) => [name, mark(spelling)]))
    this.#marked = marked
  }

  /** Text and control tokens of a prompt that ends where the answer begins. Throws AppError `template_error`. */
  render({ messages, tools, think }: Chat): PromptPiece[] {
    try {
      const rendered = renderJinja(this.#program, {
        ...this.#named,
        messages: withDoubledMark(messages),
        tools: tools?.length ? withDoubledMark(tools) : null,
        add_generation_prompt: true,
        // Both spellings: templates know the one or the other.
        enable_thinking: think,
        thinking: think,
      })
      return piecesOf(rendered, this.#marked)
    } catch (error) {
      throw this.#asUserError(error)
    }
  }

  /** A template's own words are shown, and nothing that could hold a client's. */
  #asUserError(error: unknown): AppError {
    const message = error instanceof Error ? error.message : ''
    const reason = error instanceof BoundError || this.#literals.has(message) ? `: ${message}` : ''
    // No cause: it may quote the messages, and must not travel to a log.
    return new AppError('template_error', `The model's chat template cannot render these messages${reason}`, {
      param: 'messages',
    })
  }
}

/** Splits at marks; everything between is text, with doubled U+FDD0 back to one. */
function piecesOf(rendered: string, marked: readonly ControlToken[]): PromptPiece[] {
  const pieces: PromptPiece[] = []
  let text = ''
  for (let at = 0; at < rendered.length;) {
    const markAt = rendered.indexOf(MARK, at)
    const end = markAt < 0 ? rendered.length : markAt
    text += rendered.slice(at, end)
    if (markAt < 0) break
    const token = marked[rendered.charCodeAt(markAt + 1) - PRIVATE_USE_START]
    if (token) {
      if (text !== '') pieces.push(text)
      pieces.push(token)
      text = ''
    } else {
      text += MARK
    }
    at = markAt + 2
  }
  if (text !== '') pieces.push(text)
  return pieces
}

/** A copy of JSON from a client in which no mark can stand, neither in values nor in keys. */
function withDoubledMark(value: unknown, depth = 0): unknown {
  if (depth > NESTING_MAX) throw new BoundError(`they nest deeper than ${NESTING_MAX}`)
  if (typeof value === 'string') return value.replaceAll(MARK, MARK + MARK)
  if (Array.isArray(value)) return value.map((item) => withDoubledMark(item, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(
    entries.map(([key, item]) => [key.replaceAll(MARK, MARK + MARK), withDoubledMark(item, depth + 1)]),
  )
}
