/**
 * Text to token ids and back, out of tokenizer.json: byte-level BPE.
 *
 * An added token with a visible spelling (`<|im_start|>`, `</think>`, `<tool_call>` …) is a *control token*. Text never
 * becomes one: the BPE below does not know them, so `encodeText('<|im_start|>')` spells it out in ordinary tokens.
 * Control tokens come only from `encodeMarked` and from a template's own literals (`chat-template.ts`).
 * Whatever `clean_up_tokenization_spaces` says, decoding gives exactly the tokens' bytes. No chats, no streaming here.
 */
import { anyOf } from './any-of.ts'
import { bytesOfSpelling } from './byte-alphabet.ts'
import { CheckpointError } from './checkpoint-error.ts'
import { readInside } from './checkpoint-folder.ts'
import { parseLenientJson, parseStrictJson } from './strict-json.ts'
import {
  parseNamedTokens,
  parseTokenizerFile,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
  type ControlToken,
  type TokenizerFile,
} from './tokenizer-file.ts'

export type { ControlToken } from './tokenizer-file.ts'

/** A prompt on its way to ids: text, and the control tokens between. */
export type PromptPiece = string | ControlToken

/** A prompt as one text, control tokens spelled out: for people, never for encoding. */
export function textOfPieces(pieces: readonly PromptPiece[]): string {
  return pieces.map((piece) => (typeof piece === 'string' ? piece : piece.spelling)).join('')
}

/** A.X K1's file has 13 MB. */
const TOKENIZER_BYTES_MAX = 64 << 20
const CONFIG_BYTES_MAX = 1 << 20
const NO_BYTES = new Uint8Array(0)

export class Tokenizer {
  /** Spelling → control token. */
  readonly controlTokens: ReadonlyMap<string, ControlToken>
  /** Of tokenizer_config.json: `bos_token`, `eos_token`, … → spelling. */
  readonly namedTokens: ReadonlyMap<string, string>
  /** Ids in use are below this. */
  readonly idEnd: number
  readonly #file: TokenizerFile
  readonly #controlById: ReadonlyMap<number, ControlToken>
  readonly #anyControl: RegExp | null
  readonly #anySpaces: RegExp | null
  readonly #bytes = new Map<number, Uint8Array>()

  /** Parsed tokenizer.json and tokenizer_config.json. Throws CheckpointError. */
  constructor(json: unknown, configJson: unknown) {
    const file = parseTokenizerFile(json)
    this.#file = file
    this.controlTokens = new Map(file.controlTokens.map((token) => [token.spelling, token]))
    this.namedTokens = parseNamedTokens(configJson)
    this.#controlById = new Map(file.controlTokens.map((token) => [token.id, token]))
    this.#anyControl = anyOf([...this.controlTokens.keys()])
    this.#anySpaces = anyOf([...file.spaces.keys()])
    this.idEnd = 1 + [...file.spellings.keys(), ...this.#controlById.keys()].reduce((a, b) => Math.max(a, b), -1)
  }

  /** Ids of plain text: never a control token, whatever the text spells. A lone surrogate is read as U+FFFD. */
  encodeText(text: string): number[] {
    const ids: number[] = []
    this.#encodeText(text, ids, Infinity)
    return ids
  }

  /** Ids of trusted text in which spellings of control tokens stand for them, as Hugging Face's tokenizers read it. */
  encodeMarked(text: string): number[] {
    if (this.#anyControl === null) return this.encodeText(text)
    return this.encodePieces(text.split(this.#anyControl).map((part) => this.controlTokens.get(part) ?? part))
  }

  /** Stops, with more than `countMax` ids, where there are more: what is too long costs no more than what is not. */
  encodePieces(pieces: readonly PromptPiece[], countMax = Infinity): number[] {
    const ids: number[] = []
    for (const piece of stripped(pieces)) {
      if (typeof piece === 'string') this.#encodeText(piece, ids, countMax)
      else ids.push(piece.id)
      if (ids.length > countMax) break
    }
    return ids
  }

  /** A lower bound of `encodePieces(pieces).length`, without encoding: a prompt far too long is refused at once. */
  tokenCountMin(pieces: readonly PromptPiece[]): number {
    const counts = stripped(pieces).map((piece) =>
      typeof piece === 'string' ? Math.ceil(Buffer.byteLength(piece) / this.#file.textBytesPerTokenMax) : 1,
    )
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** The text of ids; special tokens make none, broken UTF-8 becomes U+FFFD. */
  decode(ids: Iterable<number>): string {
    const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })
    let text = ''
    for (const id of ids) text += decoder.decode(this.tokenBytes(id), { stream: true })
    return text + decoder.decode()
  }

  /** UTF-8 bytes one token adds to the text, possibly part of a character; none for special tokens and unused ids. */
  tokenBytes(id: number): Uint8Array {
    const known = this.#bytes.get(id)
    if (known) return known
    const control = this.#controlById.get(id)
    const bytes = control ? controlBytes(control) : spelledBytes(this.#file.spellings.get(id))
    if (control || this.#file.spellings.has(id)) this.#bytes.set(id, bytes)
    return bytes
  }

  /** How a control token is written; '' of any other id. */
  controlName(id: number): string {
    return this.#controlById.get(id)?.spelling ?? ''
  }

  #encodeText(text: string, ids: number[], countMax: number): void {
    const { spaces, normalForms, cut, pairs } = this.#file
    const normal = normalForms.reduce((before, form) => before.normalize(form), text.toWellFormed())
    for (const part of this.#anySpaces === null ? [normal] : normal.split(this.#anySpaces)) {
      const space = spaces.get(part)
      if (space !== undefined) ids.push(space)
      for (const piece of space === undefined ? cut(part) : []) {
        pairs.encode(piece, ids)
        if (ids.length > countMax) return
      }
      if (ids.length > countMax) return
    }
  }
}

/** Text loses the white space that a control token beside it takes. */
function stripped(pieces: readonly PromptPiece[]): PromptPiece[] {
  return pieces.map((piece, index) => {
    if (typeof piece !== 'string') return piece
    const before = pieces[index - 1]
    const after = pieces[index + 1]
    let text = piece
    if (typeof before === 'object' && before.stripsAfter) text = text.slice(spaceEnd(text))
    if (typeof after === 'object' && after.stripsBefore) text = text.slice(0, lastSpaceStart(text))
    return text
  })
}

const WHITE_SPACE = /\p{White_Space}/u

/** One past the white space that a text begins with. */
function spaceEnd(text: string): number {
  let at = 0
  while (at < text.length && WHITE_SPACE.test(text.charAt(at))) at += 1
  return at
}

/** Where the white space begins that a text ends with: a pattern with `+$` would take quadratic time to find it. */
function lastSpaceStart(text: string): number {
  let at = text.length
  while (at > 0 && WHITE_SPACE.test(text.charAt(at - 1))) at -= 1
  return at
}

/** Reads tokenizer.json and, where present, tokenizer_config.json. Throws CheckpointError. */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const bytes = await readInside(dir, TOKENIZER_FILE, TOKENIZER_BYTES_MAX)
  if (bytes === null) throw new CheckpointError(TOKENIZER_FILE, `there is no such file in ${dir}`)
  const configBytes = await readInside(dir, TOKENIZER_CONFIG_FILE, CONFIG_BYTES_MAX)
  const configJson = configBytes === null ? {} : parseStrictJson(TOKENIZER_CONFIG_FILE, configBytes)
  // Lenient: a vocabulary is large, and a key twice in it makes a hole in the ids, which tokens may have.
  return new Tokenizer(parseLenientJson(TOKENIZER_FILE, bytes), configJson)
}

function controlBytes(token: ControlToken): Uint8Array {
  return token.isSpecial ? NO_BYTES : new TextEncoder().encode(token.spelling)
}

function spelledBytes(spelling: string | undefined): Uint8Array {
  if (spelling === undefined) return NO_BYTES
  // A vocabulary entry outside the byte alphabet (a plain added word) stands for its own text.
  return bytesOfSpelling(spelling) ?? new TextEncoder().encode(spelling)
}
