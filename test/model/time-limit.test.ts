/** Work that would not end is ended: loops, patterns, and work within work. */
import { describe, expect, it } from 'vitest'
import { TimeLimitError, withinMs } from '../../gpu-worker/model/time-limit.ts'

describe('withinMs', () => {
  it('gives what the work gives, and throws what it throws', () => {
    const failure = new RangeError('no')
    expect(withinMs(1_000, () => [1, 2])).toEqual([1, 2])
    expect(withinMs(1_000, () => undefined)).toBeUndefined()
    expect(() =>
      withinMs(1_000, () => {
        throw failure
      }),
    ).toThrow(failure)
    expect(withinMs(1_000, () => withinMs(1_000, () => 1) + withinMs(1_000, () => 2))).toBe(3)
  })

  it.each<[what: string, work: () => unknown]>([
    [
      'a loop',
      () => {
        for (let count = 0; ; count++) if (count < 0) return count
      },
    ],
    ['a pattern', () => /(?:a+)+$/u.test(`${'a'.repeat(100)}!`)],
  ])('ends %s that does not end', (_, work) => {
    expect(() => withinMs(50, work)).toThrow(TimeLimitError)
    expect(() => withinMs(10_000, () => withinMs(50, work))).toThrow('it takes longer than 50 ms')
    expect(withinMs(1_000, () => 1)).toBe(1)
  })
})
