/** A tokenizer as large as A.X K1's: it loads in seconds, and the longest request costs no more than the context holds. */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bodyBytesMax } from '../../contract/limits.ts'
import { byteCharacters } from '../../gpu-worker/model/byte-alphabet.ts'
import { loadTokenizer, type Tokenizer } from '../../gpu-worker/model/tokenizer.ts'
import { dice } from '../fixtures/dice.ts'

const vocabSize = 163_840
const contextTokensMax = 131_072
/** Ten times what a busy machine of two cores took. */
const loadMsMax = 15_000
const encodeMsMax = 5_000

const pattern = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

/** Merges of letters and the space, drawn by a fixed rule, up to 16 bytes a token. */
function largeFile(): object {
  const vocab = new Map(byteCharacters.map((character, id) => [character, id]))
  const pool = Array.from('abcdefghijklmnopqrstuvwxyzĠ')
  const merges: [string, string][] = []
  const roll = dice(1)
  const draw = (): string => pool[roll(0, pool.length - 1)] ?? ''
  while (vocab.size < vocabSize) {
    const [left, right] = [draw(), draw()]
    const merged = left + right
    if (vocab.has(merged)) continue
    vocab.set(merged, vocab.size)
    merges.push([left, right])
    if (merged.length <= 8) pool.push(merged)
  }
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
  const pretokenizers = [split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }]
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(vocab), merges },
  }
}

let dir = ''
let tokenizer: Tokenizer
let loadMs = 0
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-tokenizer-'))
  await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(largeFile(), null, 1))
  const startMs = performance.now()
  tokenizer = await loadTokenizer(dir)
  loadMs = performance.now() - startMs
})
afterAll(() => rm(dir, { recursive: true }))

function filled(text: string): string {
  return text.repeat(Math.ceil(bodyBytesMax / Buffer.byteLength(text)))
}

describe('a tokenizer of 163,840 tokens', () => {
  it('loads in seconds', async () => {
    expect((await stat(join(dir, 'tokenizer.json'))).size).toBeGreaterThan(8 << 20)
    expect(tokenizer.idEnd).toBe(vocabSize)
    expect(loadMs).toBeLessThan(loadMsMax)
  })

  it.each([
    ['English', filled('What would the third of these answers be? ')],
    ['Korean', filled('대한민국의 수도는 서울특별시입니다. ')],
    ['digits', filled('1')],
    ['spaces', filled(' ')],
    ['one word', filled('abcdefghijklmnop')],
    ['punctuation', filled('!?#')],
  ])('encodes the longest request until the context is full: %s', (_, text) => {
    const startMs = performance.now()
    const ids = tokenizer.encodePieces([text], contextTokensMax)
    expect(performance.now() - startMs).toBeLessThan(encodeMsMax)
    expect(ids.length).toBeGreaterThan(contextTokensMax)
    // What there is of it is right, up to where it was left.
    const start = tokenizer.decode(ids.slice(0, 1_000))
    expect(text.startsWith(start.replace(/\uFFFD+$/, ''))).toBe(true)
  })
})
