/** Bytes of a body: what is text, what is JSON, and what is too strange to look at. */
import { describe, expect, it } from 'vitest'
import type { AppError, ErrorCode } from '../../contract/errors.ts'
import { canonicalJson, nestingMax, parseJsonBody, valuesMax } from '../../edge/json-body.ts'

const utf8 = new TextEncoder()
const refusal = (code: ErrorCode) => expect.objectContaining({ code }) as AppError
const list = (count: number) => utf8.encode(`{"a":[${Array.from({ length: count }, () => 0).join(',')}]}`)
const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`

describe('parseJsonBody()', () => {
  it.each(['', ' ', '{', '{"a":1,}', '{"a":NaN}', "{'a':1}", '{"a":1}x', '{"a":"\n"}'])(
    'refuses %j as invalid_json',
    (text) => {
      expect(() => parseJsonBody(utf8.encode(text))).toThrow(refusal('invalid_json'))
    },
  )

  it.each(['1', 'null', '"a"', '[]', 'true'])('refuses %s, which is no object', (text) => {
    expect(() => parseJsonBody(utf8.encode(text))).toThrow(refusal('invalid_type'))
  })

  it.each([
    ['a lone byte', [0x7b, 0xff, 0xfe, 0x7d]],
    ['an overlong form', [0x22, 0xc0, 0x80, 0x22]],
    ['a cut sequence', [0x22, 0xe2, 0x82]],
    ['a byte order mark', [0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
    ['a coded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
  ])('refuses %s as invalid_encoding', (_name, bytes) => {
    expect(() => parseJsonBody(Uint8Array.from(bytes))).toThrow(refusal('invalid_encoding'))
  })

  it.each(['{"a":"\\ud800"}', '{"a":["x",{"b":"\\udc00 "}]}', '{"\\ud800":1}'])(
    'refuses the lone surrogate in %s',
    (text) => {
      expect(() => parseJsonBody(utf8.encode(text))).toThrow(refusal('invalid_encoding'))
    },
  )

  it('takes a surrogate pair', () => {
    expect(parseJsonBody(utf8.encode('{"a":"\\ud83d\\ude00"}'))).toEqual({ a: '😀' })
  })

  it.each(['__proto__', 'constructor', 'prototype'])('refuses the key %s at any depth and pollutes nothing', (key) => {
    const text = `{"a":[{"${key}":{"polluted":1}}]}`
    expect(() => parseJsonBody(utf8.encode(text))).toThrow(refusal('unknown_parameter'))
    expect('polluted' in {}).toBe(false)
  })

  it('bounds nesting on both sides', () => {
    expect(() => parseJsonBody(utf8.encode(nested(nestingMax)))).not.toThrow()
    expect(() => parseJsonBody(utf8.encode(nested(nestingMax + 1)))).toThrow(refusal('invalid_value'))
    expect(() => parseJsonBody(utf8.encode(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`))).toThrow(
      refusal('invalid_value'),
    )
  })

  it('bounds the number of values on both sides, however they are arranged', () => {
    // The object and the list are values too.
    expect(() => parseJsonBody(list(valuesMax - 2))).not.toThrow()
    expect(() => parseJsonBody(list(valuesMax - 1))).toThrow(refusal('invalid_value'))
    const keys = Array.from({ length: valuesMax }, (_, i) => `"${i}":[]`).join(',')
    expect(() => parseJsonBody(utf8.encode(`{${keys}}`))).toThrow(refusal('invalid_value'))
  })

  it('lets the last of duplicate keys win', () => {
    expect(parseJsonBody(utf8.encode('{"a":1,"a":2}'))).toEqual({ a: 2 })
  })

  it('never quotes the body in an error', () => {
    expect(() => parseJsonBody(utf8.encode('{"a": canary}'))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('canary') as string }) as AppError,
    )
  })
})

describe('canonicalJson()', () => {
  it('is one spelling for any order of keys', () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: 'x' })).toBe(canonicalJson({ a: 'x', b: [{ c: 2, d: 1 }] }))
  })

  it('keeps the order of lists', () => {
    expect(canonicalJson([1, 2])).not.toBe(canonicalJson([2, 1]))
  })
})
