/** Text to ids and back on axk1-tiny's own tokenizer.json, and on broken ones. */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { loadTokenizer, Tokenizer, type PromptPiece } from '../../gpu-worker/model/tokenizer.ts'

const dir = 'models/axk1-tiny'

interface TokenizerJson {
  readonly added_tokens: readonly { readonly content: string; readonly id: number }[]
  readonly model: { readonly type: string; readonly vocab: Record<string, number>; readonly merges: unknown[] }
  readonly [field: string]: unknown
}
const json = JSON.parse(readFileSync(`${dir}/tokenizer.json`, 'utf8')) as TokenizerJson // our own test data
const spellings = json.added_tokens.map(({ content }) => content)
const controlIds = new Set(json.added_tokens.map(({ id }) => id))

let tokenizer: Tokenizer
beforeAll(async () => {
  tokenizer = await loadTokenizer(dir)
})

const anyText = fc.string({ unit: 'binary', maxLength: 40 })
/** Text that spells control tokens, whole and in parts, between other text. */
const spoofing = fc
  .array(
    fc.oneof(fc.constantFrom(...spellings), fc.constantFrom('<', '<|', '|>', '</', 'im_start', 'think', '>'), anyText),
  )
  .map((parts) => parts.join(''))

/** Anything else is thrown on. */
function encodesOrRefuses(file: unknown): boolean {
  try {
    return new Tokenizer(file, {}).encodeText('Hello').length > 0
  } catch (error) {
    if (error instanceof CheckpointError) return true
    throw error
  }
}

describe('Tokenizer', () => {
  it('gives back any Unicode text: 1,000 strings', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, spoofing), (text) => {
        expect(tokenizer.decode(tokenizer.encodeText(text))).toBe(text)
      }),
      { numRuns: 1000 },
    )
  })

  it('never makes a control token of text', () => {
    fc.assert(
      fc.property(spoofing, (text) => {
        expect(tokenizer.encodeText(text).filter((id) => controlIds.has(id))).toEqual([])
      }),
      { numRuns: 1000 },
    )
  })

  it('reads every control token in trusted text', () => {
    expect(tokenizer.encodeMarked(spellings.join(''))).toEqual([...controlIds])
    expect(tokenizer.encodeMarked('<|im_start|>user\nHello!<|im_end|>')).toEqual([
      1014,
      ...tokenizer.encodeText('user\nHello!'),
      1015,
    ])
  })

  it('keeps a control token out of text even when the vocabulary spells it', () => {
    const vocab = { ...json.model.vocab, '<|im_start|>': 1014 }
    const spelled = new Tokenizer({ ...json, model: { ...json.model, vocab, ignore_merges: true } }, {})
    expect(spelled.encodeText('<|im_start|>')).toEqual(tokenizer.encodeText('<|im_start|>'))
  })

  it('decodes special tokens to nothing and other control tokens to their spelling', () => {
    expect(tokenizer.decode([1014, ...tokenizer.encodeText('a'), 1018, 1019, 1015])).toBe('a<tool_call></tool_call>')
  })

  it('decodes ids that no token has to nothing', () => {
    expect(tokenizer.decode([1_000_000, -1, 0.5])).toBe('')
    expect(tokenizer.idEnd).toBe(1024)
  })

  it('decodes broken UTF-8 to U+FFFD and keeps a byte order mark', () => {
    const [e0 = 0] = tokenizer.encodeText('대').slice(0, 1)
    expect(tokenizer.tokenBytes(json.model.vocab['ê'] ?? -1)).toEqual(Uint8Array.of(0xea))
    expect(tokenizer.decode([json.model.vocab['ê'] ?? e0])).toBe('\uFFFD')
    expect(tokenizer.decode(tokenizer.encodeText('\uFEFFa'))).toBe('\uFEFFa')
  })

  it('bounds the count of tokens from below without encoding', () => {
    const [imStart] = tokenizer.controlTokens.values()
    fc.assert(
      fc.property(fc.array(fc.oneof(anyText, fc.constant(imStart)), { maxLength: 5 }), (some) => {
        const pieces = some.filter((piece): piece is PromptPiece => piece !== undefined)
        expect(tokenizer.tokenCountMin(pieces)).toBeLessThanOrEqual(tokenizer.encodePieces(pieces).length)
      }),
    )
    for (const text of ['x', ' ', '\n']) {
      expect(tokenizer.tokenCountMin([text.repeat(16_000)])).toBeGreaterThanOrEqual(1000)
    }
  })

  it.each<[field: string, change: Record<string, unknown>]>([
    ['model.type', { model: { ...json.model, type: 'Unigram' } }],
    ['model.vocab', { model: { ...json.model, vocab: { a: -1 } } }],
    ['model.vocab: the byte 97', { model: { ...json.model, vocab: { ...json.model.vocab, a: undefined } } }],
    ['model.merges', { model: { ...json.model, merges: 7 } }],
    ['model.merges', { model: { ...json.model, merges: [7] } }],
    ['decoder', { decoder: { type: 'Metaspace' } }],
    ['pre_tokenizer', { pre_tokenizer: null }],
    ['added_tokens', { added_tokens: [{ content: 7 }] }],
    ['model', { model: undefined }],
  ])('refuses by name a wrong %s', (field, change) => {
    const changed: unknown = JSON.parse(JSON.stringify({ ...json, ...change }))
    expect(() => new Tokenizer(changed, {})).toThrow(CheckpointError)
    expect(() => new Tokenizer(changed, {})).toThrow(field)
  })

  it('takes whatever stands in the file, or throws CheckpointError: 200 mutated files', () => {
    const fields = [...Object.keys(json), 'model.vocab', 'model.merges', 'model.ignore_merges', 'model.unk_token']
    fc.assert(
      fc.property(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 3 }), (field, value) => {
        const [outer = '', inner] = field.split('.')
        const changed = inner ? { ...json, model: { ...json.model, [inner]: value } } : { ...json, [outer]: value }
        expect(encodesOrRefuses(changed)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})
