/** How an answer looks where it is read: thinking apart from what is said, and a terminal that only ever shows it. */
import { describe, expect, it } from 'vitest'
import { AnswerWriter } from '../../cli/generate/answer-writer.ts'
import type { TokenChannel } from '../../contract/event.ts'

function written(isTerminal: boolean, deltas: readonly (readonly [channel: TokenChannel, text: string])[]): string {
  let out = ''
  const writer = new AnswerWriter((text) => void (out += text), isTerminal)
  for (const [channel, text] of deltas) writer.push(channel, text)
  writer.end()
  return out
}

describe('AnswerWriter', () => {
  it('parts thinking from the answer by tags on lines of their own, where nobody watches', () => {
    expect(
      written(false, [
        ['reasoning', '1+1'],
        ['reasoning', '=2'],
        ['content', ''],
      ]),
    ).toBe('<think>\n1+1=2\n</think>\n\n\n'.slice(0, -1))
    expect(
      written(false, [
        ['reasoning', 'a'],
        ['content', 'b\n'],
        ['content', 'c'],
      ]),
    ).toBe('<think>\na\n</think>\n\nb\nc\n')
    expect(written(false, [['content', 'b']])).toBe('b\n')
    expect(written(false, [])).toBe('')
  })

  it('dims thinking in a terminal, each piece for itself, so that an interrupted one leaves nothing dim', () => {
    expect(
      written(true, [
        ['reasoning', 'a'],
        ['reasoning', 'b'],
        ['content', 'c'],
      ]),
    ).toBe('\x1b[2ma\x1b[22m\x1b[2mb\x1b[22m\n\nc\n')
  })

  it('shows control characters to a terminal and gives them to a file', () => {
    const hostile = '\x1b]0;title\x07\x1b[2J\x00\r\n\ttab\x7f\x9b31m'
    expect(written(true, [['content', hostile]])).toBe('␛]0;title␇␛[2J␀␍\n\ttab␡␡31m\n')
    expect(written(false, [['content', hostile]])).toBe(`${hostile}\n`)
  })
})
