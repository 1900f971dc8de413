/**
 * The text of one answer while its tokens arrive: which channel, which characters, and when a stop string ends it.
 *
 * A pure fold: the same tokens give the same deltas, so a job taken over replays its log through a new instance and goes
 * on byte for byte. Emitted text never changes: incomplete characters, a reasoning's trailing newlines and a possible
 * start of a stop string are held back. It does not know time, ids of models, or what a client sees.
 *
 *     Think       \n reasoning \n  </think>  \n\n content        newlines around </think> belong to the template
 *     Non-Think   content, untouched
 */
import type { TokenChannel } from '../../contract/event.ts'

export interface TextDelta {
  readonly channel: TokenChannel
  readonly text: string
  /** A stop string is complete: the text before it is out, the answer ends here. */
  readonly isStopped: boolean
}

export interface AnswerTextOptions {
  /** UTF-8 bytes of a token, possibly part of a character; none when the token makes no text. */
  readonly tokenBytes: (tokenId: number) => Uint8Array
  /** Non-null: the answer begins in its reasoning, which the first `end` token closes; a leading `start` is skipped. */
  readonly thinking: { readonly startTokenId: number | null; readonly endTokenId: number } | null
  /** Looked for in the content alone. None is empty. */
  readonly stop: readonly string[]
  /** So many tokens, reasoning counted, pass without a look for them; 0 if absent. */
  readonly stopsBehind?: number
}

export class AnswerText {
  readonly #options: AnswerTextOptions
  #decoder = newDecoder()
  #channel: TokenChannel
  /** Newlines that come now belong to the template. */
  #isAtStart: boolean
  #isStopped = false
  #tokenCount = 0
  /** Decoded, not yet emitted: newlines in reasoning, a possible start of a stop string in content. */
  #held = ''

  constructor(options: AnswerTextOptions) {
    this.#options = options
    this.#channel = options.thinking ? 'reasoning' : 'content'
    this.#isAtStart = options.thinking !== null
  }

  /** The text a token completes, often none. After a stop string nothing comes any more. */
  push(tokenId: number): TextDelta {
    const { thinking, tokenBytes } = this.#options
    this.#tokenCount += 1
    if (this.#channel === 'reasoning' && tokenId === thinking?.endTokenId) return this.#endReasoning()
    if (this.#channel === 'reasoning' && this.#isAtStart && tokenId === thinking?.startTokenId) return this.#delta('')
    return this.#take(this.#decoder.decode(tokenBytes(tokenId), { stream: true }))
  }

  /** What was held back, when no token will come: the answer is complete. */
  end(): TextDelta {
    const { text } = this.#take(this.#decoder.decode())
    const rest = this.#isStopped ? '' : this.#held
    this.#held = ''
    return this.#delta(text + rest)
  }

  /** The end token itself counts as reasoning. */
  #endReasoning(): TextDelta {
    const { text } = this.#take(this.#decoder.decode())
    this.#held = ''
    this.#decoder = newDecoder()
    this.#channel = 'content'
    this.#isAtStart = true
    return { channel: 'reasoning', text, isStopped: false }
  }

  #take(decoded: string): TextDelta {
    if (this.#isStopped) return this.#delta('')
    let text = decoded
    if (this.#isAtStart) {
      text = text.replace(/^\n+/, '')
      if (text === '') return this.#delta('')
      this.#isAtStart = false
    }
    return this.#delta(this.#channel === 'reasoning' ? this.#withoutNewlines(text) : this.#upToStop(this.#held + text))
  }

  #withoutNewlines(text: string): string {
    let end = text.length
    while (text[end - 1] === '\n') end -= 1
    const emitted = end === 0 ? '' : this.#held + text.slice(0, end)
    this.#held = end === 0 ? this.#held + text : text.slice(end)
    return emitted
  }

  /** The stop string that is complete first ends the answer, however the tokens cut the text. */
  #upToStop(pending: string): string {
    if (this.#tokenCount <= (this.#options.stopsBehind ?? 0)) return pending
    let [start, end] = [Infinity, Infinity]
    for (const stop of this.#options.stop) {
      const at = pending.indexOf(stop)
      const isFirst = at + stop.length < end || (at + stop.length === end && at < start)
      if (at >= 0 && isFirst) [start, end] = [at, at + stop.length]
    }
    this.#isStopped = start < Infinity
    const heldLength = this.#isStopped ? 0 : longestPossibleStart(pending, this.#options.stop)
    const emittedEnd = Math.min(start, pending.length - heldLength)
    this.#held = this.#isStopped ? '' : pending.slice(emittedEnd)
    return pending.slice(0, emittedEnd)
  }

  #delta(text: string): TextDelta {
    return { channel: this.#channel, text, isStopped: this.#isStopped }
  }
}

/** Length of the longest end of `text` that begins, but does not complete, a stop string. */
function longestPossibleStart(text: string, stops: readonly string[]): number {
  let longest = 0
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length
    }
  }
  return longest
}

/** A byte order mark is text like any other. */
function newDecoder(): InstanceType<typeof TextDecoder> {
  return new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })
}
