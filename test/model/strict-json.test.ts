/** JSON of a checkpoint's files: one meaning, bounded depth. */
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { parseLenientJson, parseStrictJson } from '../../gpu-worker/model/strict-json.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const nested = (depth: number, open = '[', close = ']'): Uint8Array => utf8(open.repeat(depth) + close.repeat(depth))

describe('parseStrictJson', () => {
  it.each([
    ['a key twice', '{"a":1,"b":{"a":2},"a":3}', 'the key "a" stands twice'],
    ['a key twice, spelled in two ways', '{"a":1,"\\u0061":2}', 'the key "a" stands twice'],
    ['a key twice inside a list', '[{"x":[1,{"y":1,"y":2}]}]', 'the key "y" stands twice'],
    ['no JSON', '{"a":', 'a syntax error'],
  ])('refuses %s', (_, text, says) => {
    expect(() => parseStrictJson('a.json', utf8(text))).toThrow(CheckpointError)
    expect(() => parseStrictJson('a.json', utf8(text))).toThrow(says)
  })

  it('takes equal keys of different objects, and brackets and quotes inside strings', () => {
    const text = '{"a":{"a":"}{][\\",\\"a\\":"},"b":[{"a":1},{"a":2}]}'
    expect(parseStrictJson('a.json', utf8(text))).toEqual(JSON.parse(text))
  })
})

describe.each([
  ['parseStrictJson', parseStrictJson],
  ['parseLenientJson', parseLenientJson],
])('%s', (_, parse) => {
  it('takes 64 levels and refuses 65, and 100,000 before anything could print them', () => {
    expect(parse('a.json', nested(64))).toHaveLength(1)
    expect(() => parse('a.json', nested(65))).toThrow('nests deeper than 64')
    expect(() => parse('a.json', nested(100_000))).toThrow(CheckpointError)
    expect(() => parse('a.json', nested(100_000, '{"a":', '}'))).toThrow(CheckpointError)
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parse('a.json', Uint8Array.of(0x22, 0xff, 0x22))).toThrow('UTF-8')
  })
})

it('parseLenientJson lets the last of two equal keys hold', () => {
  expect(parseLenientJson('a.json', utf8('{"a":1,"a":2}'))).toEqual({ a: 2 })
})
