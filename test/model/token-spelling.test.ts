/** What one token looks like by itself: whole characters, parts of one, and no text at all. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { spellToken } from '../../gpu-worker/model/token-spelling.ts'

const utf8 = new TextEncoder()

describe('spellToken()', () => {
  it.each<[string, number[], string]>([
    ['a part of a character', [0xec, 0x95], String.raw`\xec\x95`],
    ['text before a part of one', [0x20, 0xf0, 0x9f, 0x92], String.raw` \xf0\x9f\x92`],
    ['the end of a character before text', [0x98, 0x41], String.raw`\x98A`],
    ['a whole character between parts', [0x80, 0xed, 0x95, 0x9c, 0xed], String.raw`\x80한\xed`],
    ['bytes of no UTF-8', [0xff, 0x00], '\\xff\u0000'],
    ['a surrogate, which UTF-8 has not', [0xed, 0xa0, 0x80], String.raw`\xed\xa0\x80`],
  ])('writes %s with its bytes', (_case, bytes, token) => {
    expect(spellToken(Uint8Array.from(bytes), '')).toEqual({ token, bytes })
  })

  it('writes any whole text as it is, whose bytes need no telling, whatever came before', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.uint8Array(), (text, before) => {
        spellToken(before, '')
        expect(spellToken(utf8.encode(`\uFEFF${text}`), '')).toEqual({ token: `\uFEFF${text}` })
      }),
    )
  })

  it('loses no byte of any token', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 12 }), (bytes) => {
        const spelled = spellToken(bytes, '')
        expect(spelled.bytes ?? [...utf8.encode(spelled.token)]).toEqual([...bytes])
      }),
    )
  })

  it('writes a token without text by its name, and says that it has no bytes', () => {
    expect(spellToken(new Uint8Array(0), '<|im_end|>')).toEqual({ token: '<|im_end|>', bytes: null })
  })
})
