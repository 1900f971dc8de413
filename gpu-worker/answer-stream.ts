/**
 * One answer token by token: its text, its channel, and whether it ends here. Live tokens and replayed ones pass through
 * the same fold, which is why an answer taken over goes on byte for byte.
 *
 * It does not know the engine, the log or where tokens come from.
 */
import assert from 'node:assert/strict'
import type { TokenChannel, TokenEntry } from '../contract/event.ts'
import type { AnswerText } from './model/answer-text.ts'

export interface AnswerToken {
  readonly channel: TokenChannel
  /** What this token completed; with the last token also what was held back. */
  readonly text: string
  /** Why the answer ends with this token; null while it goes on. */
  readonly end: AnswerEnd | null
}

export type AnswerEnd = 'stop' | 'stop-string' | 'length'

/** The log holds another text than its own tokens make: nothing may be appended to it. */
export class LogMismatch extends Error {
  override readonly name = 'LogMismatch'
}

export class AnswerStream {
  readonly #text: AnswerText
  readonly #stopTokenIds: ReadonlySet<number>
  readonly #tokensMax: number
  #tokenCount = 0
  #end: AnswerEnd | null = null

  /** @param tokensMax length of the answer at most, as the engine counts it. */
  constructor(text: AnswerText, stopTokenIds: readonly number[], tokensMax: number) {
    this.#text = text
    this.#stopTokenIds = new Set(stopTokenIds)
    this.#tokensMax = tokensMax
  }

  get tokenCount(): number {
    return this.#tokenCount
  }

  get end(): AnswerEnd | null {
    return this.#end
  }

  push(tokenId: number): AnswerToken {
    assert(this.#end === null, 'No token follows the last')
    const { channel, text, isStopped } = this.#text.push(tokenId)
    this.#tokenCount += 1
    if (isStopped) this.#end = 'stop-string'
    else if (this.#stopTokenIds.has(tokenId)) this.#end = 'stop'
    else if (this.#tokenCount >= this.#tokensMax) this.#end = 'length'
    if (this.#end === null) return { channel, text, end: null }
    const rest = this.#text.end()
    assert(rest.text === '' || rest.channel === channel, 'What was held back belongs to the last token')
    return { channel, text: text + rest.text, end: this.#end }
  }

  /**
   * Takes what the log already holds, in order.
   *
   * @throws LogMismatch when an entry is not what its tokens make here.
   */
  replay(entries: readonly TokenEntry[]): void {
    for (const entry of entries) {
      if (entry.index !== this.#tokenCount) {
        throw new LogMismatch(`Expected the entry of token ${this.#tokenCount}, got ${entry.index}`)
      }
      let text = ''
      for (const tokenId of entry.tokenIds) {
        if (this.#end !== null) throw new LogMismatch(`Token ${this.#tokenCount} follows the end of the answer`)
        const token = this.push(tokenId)
        if (token.channel !== entry.channel) {
          throw new LogMismatch(`Token ${this.#tokenCount - 1} belongs to ${token.channel}, not ${entry.channel}`)
        }
        text += token.text
      }
      if (text !== entry.text) throw new LogMismatch(`The text of token ${entry.index} differs from its tokens`)
    }
  }
}
