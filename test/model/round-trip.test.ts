/**
 * Text → ids → text for 10,000 random strings, all at once and token by token, over the whole of Unicode.
 *
 * A lone surrogate is no text: it is read as U+FFFD, and so comes back.
 */
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { AnswerText } from '../../gpu-worker/model/answer-text.ts'
import { loadTokenizer, type Tokenizer } from '../../gpu-worker/model/tokenizer.ts'

/** Another one every run; `ROUND_TRIP_SEED` repeats one. */
const seed = Number(process.env['ROUND_TRIP_SEED'] ?? Date.now() % 2 ** 31)

let tokenizer: Tokenizer
beforeAll(async () => {
  tokenizer = await loadTokenizer('models/axk1-tiny')
})

const character = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...Array.from(' \n\r\t<|>/aeé가각힣ا한😀👩‍👩‍👧🇰🇷\u0301\u0085\uFEFF\u200D\uFFFD\0'),
      'the',
      '</think>',
      '<|im_end|>',
    ),
  },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 0x2fff }).map((code) => String.fromCodePoint(code)) },
  { weight: 2, arbitrary: fc.integer({ min: 0xac00, max: 0xd7ff }).map((code) => String.fromCodePoint(code)) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
  // Halves of pairs, which may meet and become whole.
  { weight: 1, arbitrary: fc.integer({ min: 0xd800, max: 0xdfff }).map((code) => String.fromCharCode(code)) },
)
const anyText = fc
  .oneof(fc.array(character, { maxLength: 24 }), fc.array(character, { minLength: 100, maxLength: 300 }))
  .map((parts) => parts.join(''))

function streamed(ids: readonly number[]): string[] {
  const fold = new AnswerText({ tokenBytes: (id) => tokenizer.tokenBytes(id), thinking: null, stop: [] })
  return [...ids.map((id) => fold.push(id).text), fold.end().text]
}

function bytesOf(ids: readonly number[]): Uint8Array {
  return Buffer.concat(ids.map((id) => tokenizer.tokenBytes(id)))
}

describe(`text and ids (seed ${seed})`, () => {
  it('give back 10,000 random strings, whole and token by token, and never half a character', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const wanted = text.toWellFormed()
        const ids = tokenizer.encodeText(text)
        expect(tokenizer.decode(ids)).toBe(wanted)
        let emitted = ''
        for (const delta of streamed(ids)) {
          emitted += delta
          // A half of a character would be a lone surrogate, or U+FFFD where `wanted` has none.
          if (!delta.isWellFormed() || !wanted.endsWith(delta, emitted.length)) break
        }
        expect(emitted).toBe(wanted)
      }),
      { numRuns: 10_000, seed },
    )
  }, 60_000)

  it('stream any ids at all to the text of their bytes, wherever the stream is cut and taken up again', () => {
    const anyIds = fc.array(fc.nat({ max: 1030 }), { maxLength: 40 })
    fc.assert(
      fc.property(anyIds, fc.nat({ max: 40 }), (ids, cut) => {
        const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytesOf(ids))
        const deltas = streamed(ids)
        expect(deltas.join('')).toBe(whole)
        expect(tokenizer.decode(ids)).toBe(whole)
        // Who takes over replays what there is, and its deltas from there on are the same.
        expect(streamed(ids.slice(0, cut)).slice(0, -1)).toEqual(deltas.slice(0, -1).slice(0, cut))
      }),
      { numRuns: 10_000, seed },
    )
  }, 60_000)
})
