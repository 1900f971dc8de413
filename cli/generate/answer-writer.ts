/**
 * An answer on its way to a terminal, a file or a pipe: thinking apart from what is said. It knows no tokens.
 *
 *     terminal   thinking dim, a blank line, the answer; control characters shown, not obeyed
 *     otherwise  <think>\n thinking \n</think>\n\n answer, byte for byte
 */
import type { TokenChannel } from '../../contract/event.ts'

const [DIM, NOT_DIM] = ['\x1b[2m', '\x1b[22m']
/** U+2400 … pictures of C0, U+2421 of DEL. */
const PICTURES_START = 0x2400
const PICTURE_OF_DEL = 0x2421

export class AnswerWriter {
  readonly #write: (text: string) => void
  readonly #isTerminal: boolean
  #channel: TokenChannel | null = null

  /** @param write takes whole characters. */
  constructor(write: (text: string) => void, isTerminal: boolean) {
    this.#write = write
    this.#isTerminal = isTerminal
  }

  push(channel: TokenChannel, text: string): void {
    if (text === '') return
    if (channel !== this.#channel) this.#turnTo(channel)
    if (!this.#isTerminal) this.#write(text)
    else if (channel === 'reasoning') this.#write(DIM + harmless(text) + NOT_DIM)
    else this.#write(harmless(text))
  }

  /** The answer is over, wherever it stands. */
  end(): void {
    if (this.#channel === 'reasoning') this.#leaveReasoning()
    if (this.#channel !== null) this.#write('\n')
  }

  #turnTo(channel: TokenChannel): void {
    if (this.#channel === 'reasoning') this.#leaveReasoning()
    if (channel === 'reasoning' && !this.#isTerminal) this.#write('<think>\n')
    this.#channel = channel
  }

  #leaveReasoning(): void {
    this.#write(this.#isTerminal ? '\n\n' : '\n</think>\n\n')
    this.#channel = null
  }
}

/** What a model says must not move the cursor, name windows or write to a clipboard. */
function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replaceAll(/[\x00-\x08\x0B-\x1F\x7F-\x9F]/g, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(PICTURES_START + code) : String.fromCharCode(PICTURE_OF_DEL)
  })
}
