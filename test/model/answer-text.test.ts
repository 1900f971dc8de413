/** The streaming text of an answer against the whole text decoded at once, for any tokens and any stop strings. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AnswerText, type TextDelta } from '../../gpu-worker/model/answer-text.ts'

/** Tokens of these tests: 0…255 are bytes, then two control tokens, then one that makes no text. */
const [THINK_START, THINK_END, SILENT] = [256, 257, 258]
const tokenBytes = (id: number): Uint8Array => (id < 256 ? Uint8Array.of(id) : new Uint8Array(0))
const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)]

function answer(options: { think?: boolean; stop?: readonly string[] } = {}): AnswerText {
  const thinking = options.think ? { startTokenId: THINK_START, endTokenId: THINK_END } : null
  return new AnswerText({ tokenBytes, thinking, stop: options.stop ?? [] })
}

interface Outcome {
  readonly deltas: readonly TextDelta[]
  readonly reasoning: string
  readonly content: string
  readonly isStopped: boolean
}

/** Feeds tokens until a stop, as the engine does. */
function replay(tokens: readonly number[], options: { think?: boolean; stop?: readonly string[] } = {}): Outcome {
  const fold = answer(options)
  const deltas: TextDelta[] = []
  for (const token of tokens) {
    deltas.push(fold.push(token))
    if (deltas.at(-1)?.isStopped) break
  }
  deltas.push(fold.end())
  const textOf = (channel: string): string =>
    deltas.filter((delta) => delta.channel === channel).reduce((text, delta) => text + delta.text, '')
  return {
    deltas,
    reasoning: textOf('reasoning'),
    content: textOf('content'),
    isStopped: deltas.some((delta) => delta.isStopped),
  }
}

/** The whole text at once. */
function decode(tokens: readonly number[]): string {
  const bytes = Uint8Array.from(tokens.filter((token) => token < 256))
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** The content when each token brings one piece of it. */
function byPieces(pieces: readonly string[], stop: readonly string[]): string {
  const fold = new AnswerText({
    tokenBytes: (id) => new TextEncoder().encode(pieces[id] ?? ''),
    thinking: null,
    stop,
  })
  let content = ''
  for (const id of pieces.keys()) {
    const delta = fold.push(id)
    content += delta.text
    if (delta.isStopped) return content
  }
  return content + fold.end().text
}

/** 'abaab', byte by byte, where 'ab' stops it behind so many tokens. */
function saidBehind(stopsBehind: number): TextDelta[] {
  const fold = new AnswerText({ tokenBytes, thinking: null, stop: ['ab'], stopsBehind })
  return bytesOf('abaab').map((token) => fold.push(token))
}

const anyTokens = fc.array(fc.oneof(fc.nat({ max: 255 }), fc.constant(SILENT), fc.constant(10)), { maxLength: 60 })
/** Few letters, so that stop strings are hit and nearly hit. */
const narrow = fc.array(fc.constantFrom('a', 'b', '\n', '가', '😀'), { maxLength: 30 }).map((parts) => parts.join(''))
const anyStops = fc.array(
  fc.array(fc.constantFrom('a', 'b', '\n', '가', '😀'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('')),
  { maxLength: 4 },
)

describe('AnswerText in Non-Think', () => {
  it('looks for no stop string before the least count of tokens', () => {
    const stoppedAt = (stopsBehind: number) => saidBehind(stopsBehind).findIndex(({ isStopped }) => isStopped)
    expect([0, 1, 2, 4, 5].map(stoppedAt)).toEqual([1, 4, 4, -1, -1])
    expect(saidBehind(2).map(({ text }) => text)).toEqual(['a', 'b', '', 'a', ''])
  })

  it('gives the whole decoded text, untouched, for any tokens', () => {
    fc.assert(
      fc.property(anyTokens, (tokens) => {
        const { content, reasoning } = replay(tokens)
        expect(content).toBe(decode(tokens))
        expect(reasoning).toBe('')
      }),
      { numRuns: 1000 },
    )
  })

  it('never splits a character: Korean and emoji come out whole, when their last byte is in', () => {
    const { deltas } = replay(bytesOf('가😀'))
    expect(deltas.map((delta) => delta.text)).toEqual(['', '', '가', '', '', '', '😀', ''])
  })

  it('keeps leading and trailing newlines', () => {
    expect(replay(bytesOf('\n\nab\n')).content).toBe('\n\nab\n')
  })
})

describe('AnswerText in Think', () => {
  it('splits at the first end token, without the newlines around it', () => {
    const tokens = [...bytesOf('\n1+1\n=2\n\n'), THINK_END, ...bytesOf('\n\n2\n\nok\n')]
    expect(replay(tokens, { think: true })).toMatchObject({ reasoning: '1+1\n=2', content: '2\n\nok\n' })
  })

  it('counts the end token itself as reasoning, with no text', () => {
    const fold = answer({ think: true })
    fold.push(97)
    expect(fold.push(THINK_END)).toEqual({ channel: 'reasoning', text: '', isStopped: false })
    expect(fold.push(98)).toEqual({ channel: 'content', text: 'b', isStopped: false })
    expect(fold.push(THINK_END)).toEqual({ channel: 'content', text: '', isStopped: false })
  })

  it('skips an opening tag that the model repeats', () => {
    expect(replay([THINK_START, ...bytesOf('\na'), THINK_END], { think: true }).reasoning).toBe('a')
  })

  it('gives up held newlines when the answer ends inside the reasoning', () => {
    expect(replay(bytesOf('\nab\n\n'), { think: true }).reasoning).toBe('ab\n\n')
  })

  it('ends a cut character with the reasoning, not in the content', () => {
    const [first = 0, ...others] = bytesOf('가')
    const tokens = [97, first, THINK_END, ...others]
    expect(replay(tokens, { think: true }).reasoning).toBe('a\uFFFD')
  })

  it('for any tokens, gives reasoning and content as cut from the whole text', () => {
    fc.assert(
      fc.property(anyTokens, anyTokens, (before, after) => {
        const { reasoning, content } = replay([...before, THINK_END, ...after], { think: true })
        expect(reasoning).toBe(decode(before).replace(/^\n+/, '').replace(/\n+$/, ''))
        expect(content).toBe(decode(after).replace(/^\n+/, ''))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('stop strings', () => {
  it('end the answer before themselves, across tokens, and nothing comes after', () => {
    const { deltas, content } = replay(bytesOf('Hello STOP there'), { stop: ['STOP'] })
    expect(content).toBe('Hello ')
    expect(deltas.at(-2)).toMatchObject({ isStopped: true })
    const fold = answer({ stop: ['b'] })
    fold.push(98)
    expect([fold.push(97), fold.end()].map((delta) => delta.text)).toEqual(['', ''])
  })

  it('hold back a possible start, and give it up when it leads nowhere or the answer ends', () => {
    const texts = replay(bytesOf('aSTxST'), { stop: ['STOP'] }).deltas.map((delta) => delta.text)
    expect(texts).toEqual(['a', '', '', 'STx', '', '', 'ST'])
  })

  it('are not looked for in reasoning', () => {
    const tokens = [...bytesOf('a stop b'), THINK_END, ...bytesOf('c stop d')]
    expect(replay(tokens, { think: true, stop: ['stop'] })).toMatchObject({ reasoning: 'a stop b', content: 'c ' })
  })

  it('do not see the newlines that belong to the template', () => {
    expect(replay([THINK_END, ...bytesOf('\n\nab\n\nc')], { think: true, stop: ['\n\n'] }).content).toBe('ab')
  })

  it('whose end comes first wins, also when another begins before it', () => {
    expect(replay(bytesOf('xabcd'), { stop: ['abcd', 'bc'] }).content).toBe('xa')
    expect(replay(bytesOf('xabc'), { stop: ['bc', 'abc'] }).content).toBe('x')
  })

  it('cut the same text the same way whatever the tokens are, and never appear in it', () => {
    fc.assert(
      fc.property(narrow, narrow, anyStops, (first, second, stop) => {
        const text = first + second
        const content = replay(bytesOf(text), { stop }).content
        expect(byPieces([first, second], stop)).toBe(content)
        expect(byPieces([text], stop)).toBe(content)
        expect(text.startsWith(content)).toBe(true)
        for (const one of stop) expect(content.includes(one)).toBe(false)
        expect(content === text).toBe(!stop.some((one) => text.includes(one)))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('replay', () => {
  it('gives byte-identical deltas for the same tokens, from any prefix on', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: SILENT })), anyStops, fc.boolean(), (tokens, stop, think) => {
        expect(replay(tokens, { stop, think })).toEqual(replay(tokens, { stop, think }))
        const [whole, resumed] = [answer({ stop, think }), answer({ stop, think })]
        const half = tokens.length >> 1
        const deltas = tokens.map((token) => whole.push(token))
        for (const token of tokens.slice(0, half)) resumed.push(token)
        expect(tokens.slice(half).map((token) => resumed.push(token))).toEqual(deltas.slice(half))
      }),
    )
  })
})
