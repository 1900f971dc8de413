/** Slots for experts, as an operator gives them: both sides of each boundary. */
import { describe, expect, it } from 'vitest'
import { parseSlots, slotsOf } from '../../gpu-worker/model/expert-slots.ts'

describe('parseSlots()', () => {
  it.each([
    ['96', 96],
    ['1', 1],
    ['50%', '50%'],
    ['12.5%', '12.5%'],
    ['100%', '100%'],
  ])('takes %s', (text, slots) => {
    expect(parseSlots(text)).toBe(slots)
  })

  it.each(['', '0', '0%', '-1', '1.5', '100.5%', 'half', '50 %', '1e3'])('refuses %j', (text) => {
    expect(parseSlots(text)).toBeNull()
  })
})

describe('slotsOf()', () => {
  it('gives a share as whole slots, one at least, and null where all experts have one', () => {
    expect(slotsOf('50%', 192)).toBe(96)
    expect(slotsOf('50%', 25)).toBe(13)
    expect(slotsOf('0.1%', 192)).toBe(1)
    expect([slotsOf(191, 192), slotsOf(192, 192), slotsOf('100%', 192), slotsOf(300, 192)]).toEqual([
      191,
      null,
      null,
      null,
    ])
  })

  it('refuses no slot at all', () => {
    expect(() => slotsOf(0, 192)).toThrow(RangeError)
    expect(() => slotsOf(2.5, 192)).toThrow(RangeError)
  })
})
