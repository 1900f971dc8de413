/** The fold that live and replayed tokens share. */
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { TokenEntry } from '../../contract/event.ts'
import { AnswerStream, LogMismatch } from '../../gpu-worker/answer-stream.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'

const endToken = 1015
let text: ModelText

beforeAll(async () => {
  text = await loadModelText('models/axk1-tiny', 'axk1-tiny')
})

function stream(think = false, stop: readonly string[] = [], tokensMax = 1_000): AnswerStream {
  return new AnswerStream(text.answer({ think, stop }), text.stopTokenIds, tokensMax)
}

function entriesOf(answer: AnswerStream, tokenIds: readonly number[]): TokenEntry[] {
  const entries: TokenEntry[] = []
  for (const tokenId of tokenIds) {
    if (answer.end !== null) break
    const index = answer.tokenCount
    const { channel, text: said } = answer.push(tokenId)
    entries.push({ kind: 'token', choice: 0, index, tokenIds: [tokenId], channel, text: said })
  }
  return entries
}

/** Control tokens too: among them the one that ends thinking, and the end of the answer. */
const anyTokens = fc.array(fc.oneof(fc.integer({ min: 0, max: 1_000 }), fc.integer({ min: 1_001, max: 1_020 })), {
  maxLength: 40,
})

describe('AnswerStream', () => {
  it('says at every cut of any answer, replayed and gone on with, what it would have said in one go', () => {
    fc.assert(
      fc.property(anyTokens, fc.nat(), fc.boolean(), (tokenIds, cutSeed, think) => {
        const inOneGo = entriesOf(stream(think, ['the', 'e a']), tokenIds)
        const cut = cutSeed % (inOneGo.length + 1)
        const resumed = stream(think, ['the', 'e a'])
        resumed.replay(inOneGo.slice(0, cut))
        const rest = resumed.end === null ? entriesOf(resumed, tokenIds.slice(cut)) : []
        expect(rest).toEqual(inOneGo.slice(cut))
      }),
      { numRuns: 300 },
    )
  })

  it('replays entries that hold several tokens', () => {
    const [first, second, ...rest] = entriesOf(stream(), [40, 41, 42, 43])
    if (first === undefined || second === undefined) throw new Error('Four tokens make four entries')
    const joined = { ...first, tokenIds: [...first.tokenIds, ...second.tokenIds], text: first.text + second.text }
    const answer = stream()
    answer.replay([joined, ...rest])
    expect(answer.tokenCount).toBe(4)
  })

  it('ends at an end token, at its limit, and at a stop string, whichever comes first', () => {
    expect(stream().push(endToken)).toMatchObject({ end: 'stop', text: '' })
    expect(stream(false, [], 1).push(40)).toMatchObject({ end: 'length' })
    expect(stream(false, [], 1).push(endToken)).toMatchObject({ end: 'stop' })
    const stop = text.decode([40])
    expect(stream(false, [stop], 1).push(40)).toMatchObject({ end: 'stop-string', text: '' })
  })

  it('gives what it held back with the last token', () => {
    const [tokenId, said] = [40, text.decode([40])]
    const beginning = stream(false, [`${said}never`])
    expect(beginning.push(tokenId).text).toBe('')
    expect(beginning.push(endToken)).toMatchObject({ text: said, end: 'stop' })
    expect(stream(false, [`${said}never`], 1).push(tokenId)).toMatchObject({ text: said, end: 'length' })
  })

  it('takes no token behind the last', () => {
    const answer = stream()
    answer.push(endToken)
    expect(() => answer.push(40)).toThrow('No token follows the last')
  })

  it.each<[string, (entry: TokenEntry) => TokenEntry]>([
    ['another text', (entry) => ({ ...entry, text: `${entry.text}!` })],
    ['another token', (entry) => ({ ...entry, tokenIds: [endToken] })],
    ['another channel', (entry) => ({ ...entry, channel: 'reasoning' })],
    ['another index', (entry) => ({ ...entry, index: entry.index + 1 })],
  ])('refuses a log with %s, and does not repeat what it holds', (_case, forge) => {
    const entries = entriesOf(stream(), [40, 41, 42])
    const forged = entries.map((entry) => (entry.index === 1 ? forge(entry) : entry))
    expect(() => stream().replay(forged)).toThrow(LogMismatch)
  })
})
