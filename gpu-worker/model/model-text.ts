/**
 * The text side of a model: chats to prompt tokens, tokens to an answer's text, defaults and end tokens, from its folder.
 *
 * Needs no GPU and no weights. It does not know requests, jobs or the engine.
 */
import assert from 'node:assert/strict'
import { AppError } from '../../contract/errors.ts'
import { lockMs, lockRenewMs } from '../../contract/limits.ts'
import { AnswerText, type AnswerTextOptions } from './answer-text.ts'
import type { Chat, ChatTemplate } from './chat-template.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { readInside } from './checkpoint-folder.ts'
import { CONFIG_BYTES_MAX } from './checkpoint.ts'
import { parseModelConfig, type ModelConfig } from './config.ts'
import {
  GENERATION_FILE,
  parseGenerationConfig,
  type GenerationConfig,
  type GenerationDefaults,
} from './generation-config.ts'
import { decodeUtf8, parseStrictJson } from './strict-json.ts'
import { spellToken, type TokenSpelling } from './token-spelling.ts'
import { tryPatterns, tryTemplate } from './text-trials.ts'
import { TimeLimitError, withinMs } from './time-limit.ts'
import { TOKENIZER_CONFIG_FILE, TOKENIZER_FILE } from './tokenizer-file.ts'
import { loadTokenizer, type Tokenizer } from './tokenizer.ts'

export interface ModelText {
  readonly modelId: string
  readonly contextTokensMax: number
  /** Of the logits; the tokenizer's ids are below it. */
  readonly vocabSize: number
  /** Every token that ends an answer. */
  readonly stopTokenIds: readonly number[]
  readonly generationDefaults: GenerationDefaults
  /**
   * The prompt's ids, ending where the answer begins. Throws AppError `template_error`; and `context_length_exceeded`
   * as soon as the text cannot fit the model's context. The caller may have a shorter one, and compares.
   */
  promptTokens(chat: Chat): number[]
  /** A fresh fold over one answer's tokens; end tokens make no text. */
  answer(options: AnswerOptions): AnswerText
  /** One token by itself, as `answer` reads it. Any id below `vocabSize`. */
  spell(tokenId: number): TokenSpelling
  decode(tokenIds: Iterable<number>): string
}

export interface AnswerOptions extends Pick<AnswerTextOptions, 'stop' | 'stopsBehind'> {
  readonly think: boolean
}

/** Jobs' locks are renewed by the same thread: it may not stand still for as long as a lock lasts. */
const PROMPT_MS_MAX = 3_000
assert(PROMPT_MS_MAX + lockRenewMs < lockMs, 'a prompt that takes long costs no lock')

const CONFIG_FILE = 'config.json'
const TEMPLATE_FILE = 'chat_template.jinja'
const THINK_START = '<think>'
const THINK_END = '</think>'

/** Reads everything but the weights. Throws CheckpointError. */
export async function loadModelText(dir: string, modelId: string): Promise<ModelText> {
  const configJson = await readJson(dir, CONFIG_FILE)
  if (configJson === undefined) throw new CheckpointError(CONFIG_FILE, `there is no such file in ${dir}`)
  const config = parseModelConfig(configJson)
  const generation = parseGenerationConfig(await readJson(dir, GENERATION_FILE))
  const tokenizer = await loadTokenizer(dir)
  if (tokenizer.idEnd > config.vocabSize) {
    throw new CheckpointError(
      TOKENIZER_FILE,
      `expected ids below ${config.vocabSize} (vocab_size), got ${tokenizer.idEnd - 1}`,
    )
  }
  const source = await readTemplate(dir)
  tryPatterns(tokenizer)
  const template = tryTemplate(source, tokenizer)

  const stopTokenIds = stopTokensOf(config, generation, tokenizer)
  const thinkStart = tokenizer.controlTokens.get(THINK_START)
  const thinkEnd = tokenizer.controlTokens.get(THINK_END)
  const noBytes = new Uint8Array(0)
  const tokenBytes = (id: number): Uint8Array => (stopTokenIds.includes(id) ? noBytes : tokenizer.tokenBytes(id))
  return {
    modelId,
    contextTokensMax: config.contextTokensMax,
    vocabSize: config.vocabSize,
    stopTokenIds,
    generationDefaults: generation.defaults,
    promptTokens: (chat) => promptTokens(chat, template, tokenizer, config.contextTokensMax),
    // A model without a token that ends thinking cannot think: all it says is content.
    answer: ({ think, ...stops }) =>
      new AnswerText({
        ...stops,
        tokenBytes,
        thinking: think && thinkEnd ? { startTokenId: thinkStart?.id ?? null, endTokenId: thinkEnd.id } : null,
      }),
    spell: (id) => spellToken(tokenBytes(id), tokenizer.controlName(id)),
    decode: (tokenIds) => tokenizer.decode(tokenIds),
  }
}

function promptTokens(chat: Chat, template: ChatTemplate, tokenizer: Tokenizer, contextTokensMax: number): number[] {
  try {
    return withinMs(PROMPT_MS_MAX, () => {
      const pieces = template.render(chat)
      const least = tokenizer.tokenCountMin(pieces)
      if (least > contextTokensMax) throw tooLong(least, contextTokensMax)
      const ids = tokenizer.encodePieces(pieces, contextTokensMax)
      if (ids.length > contextTokensMax) throw tooLong(ids.length, contextTokensMax)
      return ids
    })
  } catch (error) {
    if (!(error instanceof TimeLimitError)) throw error
    const message = `The model's template and tokenizer cannot read these messages: ${error.message}`
    throw new AppError('template_error', message, { param: 'messages' })
  }
}

/** Whatever any of the three files says ends an answer, ends it. */
function stopTokensOf(config: ModelConfig, generation: GenerationConfig, tokenizer: Tokenizer): readonly number[] {
  const spelling = tokenizer.namedTokens.get('eos_token')
  const named = spelling === undefined ? undefined : tokenizer.controlTokens.get(spelling)
  if (spelling !== undefined && named === undefined) {
    const problem = `eos_token: ${TOKENIZER_FILE} has no added token ${quote(spelling)}`
    throw new CheckpointError(TOKENIZER_CONFIG_FILE, problem)
  }
  const beyond = generation.eosTokenIds.find((id) => id >= config.vocabSize)
  if (beyond !== undefined) {
    const problem = `eos_token_id: expected ids below ${config.vocabSize} (vocab_size), got ${beyond}`
    throw new CheckpointError(GENERATION_FILE, problem)
  }
  const ids = new Set([...config.eosTokenIds, ...generation.eosTokenIds, ...(named ? [named.id] : [])])
  if (ids.size === 0) throw new CheckpointError(CONFIG_FILE, 'eos_token_id: no file names a token that ends an answer')
  return [...ids]
}

function tooLong(tokensMin: number, contextTokensMax: number): AppError {
  const message =
    `This model's maximum context length is ${contextTokensMax} tokens. However, your messages resulted in at least ` +
    `${tokensMin} tokens. Please reduce the length of the messages.`
  return new AppError('context_length_exceeded', message, { param: 'messages' })
}

async function readJson(dir: string, name: string): Promise<unknown> {
  const bytes = await readInside(dir, name, CONFIG_BYTES_MAX)
  return bytes === null ? undefined : parseStrictJson(name, bytes)
}

/** The template has a file of its own or, in older folders, a field of tokenizer_config.json. */
async function readTemplate(dir: string): Promise<string> {
  const bytes = await readInside(dir, TEMPLATE_FILE, CONFIG_BYTES_MAX)
  if (bytes !== null) return decodeUtf8(TEMPLATE_FILE, bytes)
  const config = await readJson(dir, TOKENIZER_CONFIG_FILE)
  if (typeof config === 'object' && config !== null && 'chat_template' in config) {
    if (typeof config.chat_template === 'string') return config.chat_template
    throw new CheckpointError(TOKENIZER_CONFIG_FILE, 'chat_template: not supported yet: several templates')
  }
  throw new CheckpointError(
    TEMPLATE_FILE,
    `there is no such file in ${dir}, nor a chat_template in ${TOKENIZER_CONFIG_FILE}`,
  )
}
