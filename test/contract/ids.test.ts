/** Job ids: one ULID everywhere. */
import { describe, expect, it } from 'vitest'
import { newJobId, parseJobId, publicId, shardOf } from '../../contract/ids.ts'

const random = (fill: number) => new Uint8Array(16).fill(fill)

describe('a job id', () => {
  it('is its time and its random bytes, and sorts by time', () => {
    expect(newJobId(0, random(0))).toBe('0'.repeat(26))
    expect(newJobId(0, random(31))).toBe(`${'0'.repeat(10)}${'Z'.repeat(16)}`)
    expect(newJobId(2 ** 48 - 1, random(0))).toBe(`7ZZZZZZZZZ${'0'.repeat(16)}`)
    expect(newJobId(1_000, random(31)) < newJobId(1_001, random(0))).toBe(true)
  })

  it('takes exactly 16 random bytes', () => {
    expect(() => newJobId(0, new Uint8Array(15))).toThrow('16 random bytes')
  })

  it.each([
    ['its own text', newJobId(1_795_000_000_000, random(7)), true],
    ['the largest', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ', true],
    ['one above the largest', '80000000000000000000000000', false],
    ['one character less', '0'.repeat(25), false],
    ['one character more', '0'.repeat(27), false],
    ['lower case', '0123456789abcdefghjkmnpqrs', false],
    ['letters that Crockford left out', `${'0'.repeat(25)}I`, false],
    ['a line end', `${'0'.repeat(26)}\n`, false],
    ['nothing', '', false],
  ])('is recognised: %s', (_case, text, isId) => {
    expect(parseJobId(text) === text).toBe(isId)
  })

  it('is public behind the prefix of its API', () => {
    const id = newJobId(0, random(1))
    expect(publicId('chat', id)).toBe(`chatcmpl-${id}`)
    expect(publicId('response', id)).toBe(`resp_${id}`)
  })

  it('has one shard, the same for everyone, and spreads evenly', () => {
    const counts = [0, 0, 0, 0]
    for (let i = 0; i < 4_000; i++) {
      const id = newJobId(
        i,
        Uint8Array.from({ length: 16 }, (_, byte) => (i * 31 + byte * 17) & 255),
      )
      const shard = shardOf(id, 4)
      expect(shardOf(id, 4)).toBe(shard)
      counts[shard] = (counts[shard] ?? 0) + 1
    }
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150)
    expect(shardOf(newJobId(5, random(5)), 1)).toBe(0)
  })
})
