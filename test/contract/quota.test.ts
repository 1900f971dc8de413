/** Money and places in the queue: the formulas that TypeScript and the scripts share, at their edges. */
import { describe, expect, it } from 'vitest'
import { priceMicroMax, priorityMax, tokensPerPriority } from '../../contract/limits.ts'
import { costNano, freePrice } from '../../contract/money.ts'
import { priorityOf } from '../../contract/quota.ts'

describe('costNano()', () => {
  it.each([
    [0, 37_500, 0],
    [1, 1, 1],
    [1_000, 1, 1],
    [1_001, 1, 2],
    [1, 1_000, 1],
    [1_000_000, 37_500, 37_500_000],
    [7, freePrice.outputMicro, 0],
  ])('%d tokens at %d µUSD a million cost %d nano-USD, rounded up once', (tokens, priceMicro, nano) => {
    expect(costNano(tokens, priceMicro)).toBe(nano)
  })

  it('is exact at the longest context and the highest price', () => {
    for (const tokens of [131_071, 131_072, 1_000_003]) {
      const exact = (BigInt(tokens) * BigInt(priceMicroMax - 1) + 999n) / 1_000n
      expect(BigInt(costNano(tokens, priceMicroMax - 1))).toBe(exact)
    }
  })
})

describe('priorityOf()', () => {
  it.each([
    [0, 0, 1],
    [tokensPerPriority - 1, 0, 1],
    [tokensPerPriority, 0, 2],
    [0, 10 * tokensPerPriority, 1],
    [10 * tokensPerPriority, 9 * tokensPerPriority, 2],
    [Number.MAX_SAFE_INTEGER, 0, priorityMax],
  ])('tag %d from base %d is priority %d: never 0, never beyond BullMQ’s range', (queueTag, base, priority) => {
    expect(priorityOf(queueTag, base)).toBe(priority)
  })
})
