/** API keys as text: what is refused without I/O. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { newKey, parseKey } from '../../contract/key-format.ts'

const key = newKey('live', randomBytes)

describe('an API key', () => {
  it.each(['live', 'admin'] as const)('of kind %s is parsed back to its kind and id', (kind) => {
    const fresh = newKey(kind, randomBytes)
    expect(fresh).toMatch(/^axle_(live|admin)_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/)
    expect(parseKey(fresh)).toEqual({ kind, id: fresh.split('_')[2] })
  })

  it('with any one character changed is refused', () => {
    for (let at = 0; at < key.length; at++) {
      const other = key[at] === 'x' ? 'y' : 'x'
      expect(parseKey(key.slice(0, at) + other + key.slice(at + 1))).toBeNull()
    }
  })

  it.each([
    '',
    ' ',
    key.slice(0, -1),
    `${key}0`,
    ` ${key}`,
    `${key}\n`,
    key.replace('live', 'test'),
    key.toLowerCase(),
  ])('is refused in the shape %j', (text) => {
    expect(parseKey(text)).toBeNull()
  })

  it('draws every character equally often: bytes that would favour some are drawn again', () => {
    // Bytes 248 … 255 alone would all become the first eight characters.
    let calls = 0
    const biased = (count: number) => new Uint8Array(count).fill(calls++ === 0 ? 255 : 61)
    expect(newKey('live', biased).split('_')[2]).toBe('zzzzzzzz')
  })
})
