/**
 * tokenizer.json taken apart: control tokens on one side, on the other what cuts and merges text without knowing them.
 *
 * Only byte-level BPE that loses no text: what else a file asks for is refused by name. It encodes and decodes nothing.
 */
import { byteCharacters, bytesOfSpelling, spellingOfText } from './byte-alphabet.ts'
import { BytePairs, TOKEN_ID_END, type Merge } from './byte-pairs.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { parsePreTokenizer, type Cut } from './pre-tokenizer.ts'

export const TOKENIZER_FILE = 'tokenizer.json'
export const TOKENIZER_CONFIG_FILE = 'tokenizer_config.json'

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
  /** Added tokens of white space alone, which ordinary text becomes: text → id. */
  readonly spaces: ReadonlyMap<string, number>
  readonly normalForms: readonly NormalForm[]
  readonly cut: Cut
  readonly pairs: BytePairs
  /** No token of text has more UTF-8 bytes; infinite where normal forms change the text first. */
  readonly textBytesPerTokenMax: number
}

const normalFormNames = ['NFC', 'NFD', 'NFKC', 'NFKD'] as const
export type NormalForm = (typeof normalFormNames)[number]

type Fields = Readonly<Record<string, unknown>>

/** Throws CheckpointError naming the field. `post_processor` frames what is no chat, and is not read. */
export function parseTokenizerFile(json: unknown): TokenizerFile {
  const file = asRecord(json, 'the file')
  const model = asRecord(file['model'], 'model')
  const { type } = model
  if (type !== 'BPE') throw refuse(`model.type: not supported yet: ${quote(type)} (only "BPE")`)
  for (const field of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model[field]) throw refuse(`model.${field}: not supported yet: ${quote(model[field])}`)
  }
  checkDecoder(file['decoder'])
  const normalForms = normalFormsOf(file['normalizer'])
  const cut = parsePreTokenizer(file['pre_tokenizer'])

  const vocabulary = vocabularyOf(model['vocab'])
  const { controlTokens, spaces } = addedTokensOf(file['added_tokens'])
  const control = controlTokens.flatMap(({ spelling }) => [spelling, spellingOfText(spelling)])
  for (const spelling of control) vocabulary.delete(spelling)
  const lost = byteCharacters.findIndex((character) => !vocabulary.has(character))
  if (lost >= 0) throw refuse(`model.vocab: the byte ${lost} has no token, so text with it would be lost`)

  const spellings = new Map([...spaces].map(([text, id]) => [id, text]))
  // Text reaches the vocabulary in the byte alphabet, where a character is a byte.
  let textBytesPerTokenMax = [...spaces.keys()].reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 1)
  for (const [spelling, id] of vocabulary) {
    spellings.set(id, spelling)
    textBytesPerTokenMax = Math.max(textBytesPerTokenMax, spelling.length)
  }
  const byteIds = Int32Array.from(byteCharacters, (character) => vocabulary.get(character) ?? -1)
  const merges = mergesOf(model['merges'], vocabulary, new Set(control))
  const pairs = new BytePairs(byteIds, merges, model['ignore_merges'] === true ? wholesOf(vocabulary) : new Map())
  if (normalForms.length > 0) textBytesPerTokenMax = Infinity
  return { controlTokens, spellings, spaces, normalForms, cut, pairs, textBytesPerTokenMax }
}

function vocabularyOf(vocab: unknown): Map<string, number> {
  const vocabulary = new Map<string, number>()
  if (!isObject(vocab)) throw refuse('model.vocab: expected an object')
  for (const [spelling, id] of Object.entries(vocab)) {
    if (!isTokenId(id)) throw refuse(`model.vocab: ${quote(spelling)} has the id ${quote(id)}`)
    vocabulary.set(spelling, id)
  }
  return vocabulary
}

function addedTokensOf(list: unknown): { controlTokens: ControlToken[]; spaces: Map<string, number> } {
  const controlTokens: ControlToken[] = []
  const spaces = new Map<string, number>()
  for (const entry of Array.isArray(list) ? list : []) {
    const { content, id, special, lstrip, rstrip, single_word: isSingleWord } = asRecord(entry, 'added_tokens')
    if (typeof content !== 'string' || content === '' || !isTokenId(id)) throw refuse(`added_tokens: ${quote(entry)}`)
    if (isSingleWord === true) throw refuse(`added_tokens: single_word: not supported yet: ${quote(content)}`)
    if (content.trim() === '' && special !== true) {
      spaces.set(content, id)
    } else {
      const strips = { stripsBefore: lstrip === true, stripsAfter: rstrip === true }
      controlTokens.push({ id, spelling: content, isSpecial: special === true, ...strips })
    }
  }
  return { controlTokens, spaces }
}

/** A merge that makes or needs a control token does not happen: text is never one. */
function mergesOf(list: unknown, vocabulary: ReadonlyMap<string, number>, control: ReadonlySet<string>): Merge[] {
  if (!Array.isArray(list)) throw refuse('model.merges: expected a list')
  const merges: Merge[] = []
  for (const entry of list) {
    const pair: unknown[] = typeof entry === 'string' ? entry.split(' ') : Array.isArray(entry) ? entry : []
    const [first, second] = pair
    if (pair.length !== 2 || typeof first !== 'string' || typeof second !== 'string') {
      throw refuse(`model.merges: expected pairs, got ${quote(entry)}`)
    }
    if ([first, second, first + second].some((spelling) => control.has(spelling))) continue
    const [left, right, merged] = [first, second, first + second].map((spelling) => vocabulary.get(spelling))
    if (left === undefined || right === undefined || merged === undefined) {
      throw refuse(`model.merges: model.vocab lacks a token of ${quote(entry)}`)
    }
    merges.push({ left, right, merged })
  }
  return merges
}

/** Every token by the bytes it stands for, one character a byte. */
function wholesOf(vocabulary: ReadonlyMap<string, number>): Map<string, number> {
  const wholes = new Map<string, number>()
  for (const [spelling, id] of vocabulary) {
    const bytes = bytesOfSpelling(spelling)
    if (bytes !== null) wholes.set(Buffer.from(bytes).toString('latin1'), id)
  }
  return wholes
}

/**
 * Node's tables are newer than the reference's: NFKC and NFKD take apart some characters here (U+10784, U+1FBF1) that it
 * leaves whole. No tokenizer of the family uses these two.
 */
function normalFormsOf(json: unknown): NormalForm[] {
  if (json === null || json === undefined) return []
  const { type, normalizers } = asRecord(json, 'normalizer')
  if (type === 'Sequence' && Array.isArray(normalizers)) return normalizers.flatMap((part) => normalFormsOf(part))
  const form = normalFormNames.find((name) => name === type)
  if (form === undefined) throw refuse(`normalizer: not supported yet: ${quote(json)} (only normal forms of Unicode)`)
  return [form]
}

/** `ByteLevel`, alone or as the one step of a sequence. */
function checkDecoder(json: unknown): void {
  const { type, decoders } = asRecord(json, 'decoder')
  if (type === 'Sequence' && Array.isArray(decoders) && decoders.length === 1) checkDecoder(decoders[0])
  else if (type !== 'ByteLevel') throw refuse(`decoder: not supported yet: ${quote(json)} (only a byte level)`)
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
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < TOKEN_ID_END
}

function asRecord(value: unknown, where: string): Fields {
  if (!isObject(value)) throw refuse(`${where}: expected an object`)
  return { ...value }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refuse(problem: string): CheckpointError {
  return new CheckpointError(TOKENIZER_FILE, problem)
}
