/**
 * tokenizer.json taken apart: the control tokens on one side, a tokenizer that does not know them on the other.
 *
 * Only byte-level BPE. It encodes and decodes nothing.
 */
import { byteCharacters, spellingOfText } from './byte-alphabet.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'

export const TOKENIZER_FILE = 'tokenizer.json'
export const TOKENIZER_CONFIG_FILE = 'tokenizer_config.json'
const TOKEN_ID_MAX = 1 << 24

export interface ControlToken {
  readonly id: number
  readonly spelling: string
  /** Makes no text: it ends a turn or marks a role. Others (`<tool_call>`) are part of the answer's text. */
  readonly isSpecial: boolean
  /** It swallows the white space before or after it. */
  readonly stripsBefore: boolean
  readonly stripsAfter: boolean
}

export interface TokenizerFile {
  readonly controlTokens: readonly ControlToken[]
  /** Id → spelling of every other token. */
  readonly spellings: ReadonlyMap<number, string>
  readonly textBytesPerTokenMax: number
  /** tokenizer.json with every trace of the control tokens taken out. */
  readonly withoutControl: object
}

/** Throws CheckpointError naming the field. */
export function parseTokenizerFile(json: unknown): TokenizerFile {
  const {
    model,
    added_tokens: addedTokens,
    pre_tokenizer: preTokenizer,
    decoder,
    normalizer,
    post_processor,
  } = asRecord(json, 'the file')
  const { type, vocab, merges, ...modelRest } = asRecord(model, 'model')
  if (type !== 'BPE') throw refuse(`model.type: not supported yet: ${quote(type)} (only "BPE")`)
  for (const [field, value] of [
    ['pre_tokenizer', preTokenizer],
    ['decoder', decoder],
  ] as const) {
    if (!usesByteLevel(value)) throw refuse(`${field}: not supported yet: ${quote(value)} (only byte level)`)
  }
  if (!Array.isArray(merges)) throw refuse('model.merges: expected a list')
  if (!merges.every((merge) => typeof merge === 'string' || (Array.isArray(merge) && merge.length === 2))) {
    throw refuse('model.merges: expected pairs')
  }
  const controlTokens: ControlToken[] = []
  const ordinaryAdded: unknown[] = []
  let addedBytesMax = 1
  const spellings = new Map<number, string>()
  const vocabulary = new Map<string, number>()
  for (const [spelling, id] of Object.entries(asRecord(vocab, 'model.vocab'))) {
    if (!isTokenId(id)) throw refuse(`model.vocab: ${quote(spelling)} has the id ${quote(id)}`)
    vocabulary.set(spelling, id)
  }
  for (const entry of Array.isArray(addedTokens) ? addedTokens : []) {
    const { content, id, special, lstrip, rstrip } = asRecord(entry, 'added_tokens')
    if (typeof content !== 'string' || content === '' || !isTokenId(id)) throw refuse(`added_tokens: ${quote(entry)}`)
    if (content.trim() === '' && special !== true) {
      ordinaryAdded.push(entry)
      addedBytesMax = Math.max(addedBytesMax, Buffer.byteLength(content))
      spellings.set(id, content)
      continue
    }
    controlTokens.push({
      id,
      spelling: content,
      isSpecial: special === true,
      stripsBefore: lstrip === true,
      stripsAfter: rstrip === true,
    })
    vocabulary.delete(content)
    vocabulary.delete(spellingOfText(content))
  }
  for (const [spelling, id] of vocabulary) spellings.set(id, spelling)
  const lost = byteCharacters.findIndex((character) => !vocabulary.has(character))
  if (lost >= 0) throw refuse(`model.vocab: the byte ${lost} has no token, so text with it would be lost`)
  // Text reaches the vocabulary in the byte alphabet, where a character is a byte.
  let textBytesPerTokenMax = normalizer ? Infinity : addedBytesMax
  for (const spelling of vocabulary.keys()) textBytesPerTokenMax = Math.max(textBytesPerTokenMax, spelling.length)
  const withoutControl = {
    normalizer: normalizer ?? null,
    post_processor: post_processor ?? null,
    pre_tokenizer: preTokenizer,
    decoder,
    added_tokens: ordinaryAdded,
    model: { ...modelRest, type, merges, vocab: Object.fromEntries(vocabulary) },
  }
  return { controlTokens, spellings, textBytesPerTokenMax, withoutControl }
}

/** `ByteLevel`, alone or in a sequence. */
function usesByteLevel(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { type, pretokenizers, decoders }: { type?: unknown; pretokenizers?: unknown; decoders?: unknown } = value
  if (type === 'ByteLevel') return true
  const parts = pretokenizers ?? decoders
  return type === 'Sequence' && Array.isArray(parts) && parts.some((part) => usesByteLevel(part))
}

/** Every `…_token` of tokenizer_config.json: text, or an object with its content. */
export function parseNamedTokens(json: unknown): Map<string, string> {
  const named = new Map<string, string>()
  for (const [field, value] of Object.entries(asRecord(json, TOKENIZER_CONFIG_FILE))) {
    const content: unknown = typeof value === 'object' && value !== null && 'content' in value ? value.content : value
    if (field.endsWith('_token') && typeof content === 'string') named.set(field, content)
  }
  return named
}

function isTokenId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= TOKEN_ID_MAX
}

function asRecord(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(`${where}: expected an object`)
  return { ...value }
}

function refuse(problem: string): CheckpointError {
  return new CheckpointError(TOKENIZER_FILE, problem)
}
