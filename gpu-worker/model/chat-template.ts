/**
 * A chat as the model was trained to read it: chat_template.jinja over messages, tools and the thinking switch.
 *
 * Control tokens come from the template alone. Before a template runs, each spelling of one in its own literals is
 * replaced by a mark (U+FDD0 and a private character); what clients send passes with every U+FDD0 written otherwise.
 * After rendering, marks become control tokens and all else is text, so `<|im_start|>` in a message stays text wherever it
 * lands, also when it is cut or put together from two strings. For the same reason a template that looks for `</think>`
 * in a message does not find it there. It does not know ids beyond those tokens, nor what a tokenizer does.
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
/** Stands before `MARK_LETTER` for U+FDD0 in a client's text, and before `ESCAPE_LETTER` for itself. */
const ESCAPE = '\uFDD1'
const [MARK_LETTER, ESCAPE_LETTER] = ['m', 'e']
const PRIVATE_USE_START = 0xe000
const PRIVATE_USE_END = 0xf900
const NESTING_MAX = 64
const FILE = 'chat_template.jinja'
/** The longest requests take a fifth of it; a step of the engine waits meanwhile. */
const RENDER_MS_MAX = 2_000
/** Of a chat of a few words, when a model is loaded. */
const PROBE_MS_MAX = 250

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
    if (source.includes(MARK) || source.includes(ESCAPE)) {
      throw new CheckpointError(FILE, 'the characters U+FDD0 and U+FDD1 are not allowed in it')
    }
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
      const reason = error instanceof BoundError ? `: ${error.message}` : ''
      throw new CheckpointError(FILE, `it is not a template that we can read${reason}`, { cause: error })
    }
    this.#literals = literals
    this.#named = Object.fromEntries([...namedTokens].map(([name, spelling]) => [name, mark(spelling)]))
    this.#marked = marked
  }

  /** Text and control tokens of a prompt that ends where the answer begins. Throws AppError `template_error`. */
  render(chat: Chat): PromptPiece[] {
    try {
      return this.#render(chat, RENDER_MS_MAX)
    } catch (error) {
      throw this.#asUserError(error)
    }
  }

  /** As `render`, for a chat that is nobody's: a bound that it meets is the template's fault. Throws CheckpointError too. */
  renderProbe(chat: Chat): PromptPiece[] {
    try {
      return this.#render(chat, PROBE_MS_MAX)
    } catch (error) {
      if (error instanceof BoundError) throw new CheckpointError(FILE, `a chat of a few words: ${error.message}`)
      throw this.#asUserError(error)
    }
  }

  #render({ messages, tools, think }: Chat, msMax: number): PromptPiece[] {
    const variables = {
      ...this.#named,
      messages: withoutMark(messages),
      tools: tools?.length ? withoutMark(tools) : null,
      add_generation_prompt: true,
      // Both spellings: templates know the one or the other.
      enable_thinking: think,
      thinking: think,
    }
    return piecesOf(renderJinja(this.#program, variables, msMax), this.#marked)
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

/** Splits at marks; everything between is text, as the client and the template wrote it. */
function piecesOf(rendered: string, marked: readonly ControlToken[]): PromptPiece[] {
  const pieces: PromptPiece[] = []
  const [first = '', ...rest] = rendered.split(MARK)
  if (first !== '') pieces.push(unescaped(first))
  for (const part of rest) {
    const token = marked[part.charCodeAt(0) - PRIVATE_USE_START]
    // Only a template that cuts its own literals apart gets here.
    if (token === undefined) throw new BoundError('it cuts a control token in two')
    pieces.push(token)
    if (part.length > 1) pieces.push(unescaped(part.slice(1)))
  }
  return pieces
}

/** A copy of JSON from a client in which no mark can stand, neither in values nor in keys, nor arise by cutting. */
function withoutMark(value: unknown, depth = 0): unknown {
  if (depth > NESTING_MAX) throw new BoundError(`they nest deeper than ${NESTING_MAX}`)
  if (typeof value === 'string') return escaped(value)
  if (Array.isArray(value)) return value.map((item) => withoutMark(item, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.map(([key, item]) => [escaped(key), withoutMark(item, depth + 1)]))
}

function escaped(text: string): string {
  return text.replaceAll(ESCAPE, ESCAPE + ESCAPE_LETTER).replaceAll(MARK, ESCAPE + MARK_LETTER)
}

function unescaped(text: string): string {
  return text.replaceAll(ESCAPE + MARK_LETTER, MARK).replaceAll(ESCAPE + ESCAPE_LETTER, ESCAPE)
}
