/**
 * The kinds of byte-level tokenizer that the model's family uses, against the ids of Hugging Face's tokenizers, and by
 * name what we refuse. `test/fixtures/make-chats.py` made the ids, with a vocabulary that shows nearly every cut.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { tryPatterns } from '../../gpu-worker/model/text-trials.ts'
import { Tokenizer } from '../../gpu-worker/model/tokenizer.ts'

interface Family {
  readonly vocab: readonly string[]
  readonly texts: readonly string[]
  readonly family: readonly {
    readonly name: string
    readonly file: Readonly<Record<string, unknown>>
    readonly ignoreMerges: boolean
    readonly areMergesText: boolean
    readonly ids: readonly (readonly number[])[]
  }[]
}

const packed = readFileSync(join(import.meta.dirname, '../fixtures/tokenizers.json.gz'))
const { vocab, texts, family } = JSON.parse(gunzipSync(packed).toString()) as Family // our own test data

const base = { pre_tokenizer: { type: 'ByteLevel' }, decoder: { type: 'ByteLevel' }, added_tokens: [] }

/** Every pair of bytes is a token, in order of rank. */
const merges = vocab.filter((spelling) => spelling.length === 2).map((pair) => pair.split(''))

function split(over: object): object {
  const step = { type: 'Split', pattern: { Regex: 'a' }, behavior: 'Isolated', ...over }
  return { type: 'Sequence', pretokenizers: [step, { type: 'ByteLevel' }] }
}

function tokenizer(file: Readonly<Record<string, unknown>>, model: Readonly<Record<string, unknown>> = {}): Tokenizer {
  const ids = Object.fromEntries(vocab.map((spelling, id) => [spelling, id]))
  return new Tokenizer({ ...base, ...file, model: { type: 'BPE', vocab: ids, merges, ...model } }, {})
}

describe.each(family)('a tokenizer like $name', ({ file, ignoreMerges, areMergesText, ids }) => {
  const spelled = merges.map((pair) => pair.join(' '))
  const model = { ignore_merges: ignoreMerges, ...(areMergesText ? { merges: spelled } : {}) }

  it('gives the ids of Hugging Face for every text', () => {
    const ours = tokenizer(file, model)
    const differing = texts.filter((text, at) => ours.encodeText(text).join(' ') !== ids[at]?.join(' '))
    expect(differing).toEqual([])
  })
})

describe('tryPatterns', () => {
  it.each(family.filter(({ name }) => name !== 'atomic'))('finds a tokenizer like $name quick', ({ file }) => {
    expect(() => tryPatterns(tokenizer(file))).not.toThrow()
  })

  it('finds that one made for this test is not: over spaces it looks through the rest from each on', () => {
    const atomic = family.find(({ name }) => name === 'atomic')
    expect(() => tryPatterns(tokenizer(atomic?.file ?? {}))).toThrow(/over " " repeated, it takes longer than/)
  })
})

describe('a tokenizer.json', () => {
  it.each<[problem: string, file: object, model?: object]>([
    ['pre_tokenizer: not supported yet: type: "Metaspace"', { pre_tokenizer: split({ type: 'Metaspace' }) }],
    ['pre_tokenizer: not supported yet: type: "Whitespace"', { pre_tokenizer: split({ type: 'Whitespace' }) }],
    ['behavior: "MergedWithNext"', { pre_tokenizer: split({ behavior: 'MergedWithNext' }) }],
    ['behavior: "Removed"', { pre_tokenizer: split({ behavior: 'Removed', invert: false }) }],
    ['not a pattern that we can read', { pre_tokenizer: split({ pattern: { Regex: '(' } }) }],
    ['not a pattern that we can read', { pre_tokenizer: split({ pattern: { Regex: '(?i)a' } }) }],
    ['pattern: {}', { pre_tokenizer: split({ pattern: {} }) }],
    ['add_prefix_space: true', { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }],
    ['a byte level that comes last', { pre_tokenizer: { type: 'Digits' } }],
    ['a byte level that comes last', { pre_tokenizer: { type: 'Sequence', pretokenizers: [] } }],
    ['normalizer: not supported yet: {"type":"Lowercase"}', { normalizer: { type: 'Lowercase' } }],
    ['normalizer: not supported yet', { normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend' }] } }],
    ['decoder: not supported yet', { decoder: { type: 'WordPiece' } }],
    ['decoder: expected an object', { decoder: null }],
    ['single_word: not supported yet: "<x>"', { added_tokens: [{ content: '<x>', id: 9000, single_word: true }] }],
    ['model.type: not supported yet: "WordPiece"', {}, { type: 'WordPiece' }],
    ['model.dropout: not supported yet: 0.1', {}, { dropout: 0.1 }],
    ['model.end_of_word_suffix: not supported yet: "</w>"', {}, { end_of_word_suffix: '</w>' }],
    ['model.continuing_subword_prefix: not supported yet: "##"', {}, { continuing_subword_prefix: '##' }],
    ['model.vocab lacks a token of ["q","쀍"]', {}, { merges: [['q', '쀍']] }],
    ['model.merges: expected pairs, got "a b c"', {}, { merges: ['a b c'] }],
  ])('is refused by name: %s', (problem, file, model = {}) => {
    const make = (): Tokenizer => tokenizer({ ...file }, { ...model })
    expect(make).toThrow(CheckpointError)
    expect(make).toThrow(problem)
  })

  it('whose merges make a control token still reads its spelling as text', () => {
    const spellings = [...vocab, '<t', '<t>']
    const ids = Object.fromEntries(spellings.map((spelling, id) => [spelling, id]))
    const added_tokens = [{ content: '<t>', id: spellings.length - 1 }]
    const merging = [
      ['<', 't'],
      ['<t', '>'],
    ]
    const ours = tokenizer({ added_tokens }, { vocab: ids, merges: merging, ignore_merges: true })
    expect(ours.encodeText('<t>')).toEqual([ids['<'], ids['t'], ids['>']])
    expect(ours.encodeMarked('<t>')).toEqual([ids['<t>']])
    expect(ours.decode(ours.encodeText('<t>'))).toBe('<t>')
  })

  it('says no more than it must: cleaning up spaces, truncation and a post-processor change nothing', () => {
    const file = { ...base, truncation: { max_length: 1 }, padding: {}, post_processor: { type: 'TemplateProcessing' } }
    const ids = Object.fromEntries(vocab.map((spelling, id) => [spelling, id]))
    const ours = new Tokenizer(
      { ...file, model: { type: 'BPE', vocab: ids, merges: [] } },
      { clean_up_tokenization_spaces: true, add_bos_token: true },
    )
    const text = "Well , it 's done . Is n't it ?"
    expect(ours.encodeText(text)).toHaveLength(text.length)
    expect(ours.decode(ours.encodeText(text))).toBe(text)
  })

  it('takes the white space beside a control token where it says so, and no time on long runs of it', () => {
    const added_tokens = [{ content: '<t>', id: 9000, lstrip: true, rstrip: true }]
    const ours = tokenizer({ added_tokens }, { merges: [] })
    expect(ours.encodeMarked('a \u0085\n<t>\u3000 b\uFEFF')).toEqual([
      ...ours.encodeText('a'),
      9000,
      ...ours.encodeText('b\uFEFF'),
    ])
    const [token] = ours.controlTokens.values()
    const startMs = performance.now()
    const ids = ours.encodePieces([`${' '.repeat(200_000)}x`, ...(token ? [token] : [])])
    expect(ids).toHaveLength(200_002)
    expect(performance.now() - startMs).toBeLessThan(5_000)
  })
})
