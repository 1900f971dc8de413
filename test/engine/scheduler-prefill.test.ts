/** Which prompts share the chunk behind the decodes, which share their beginnings, and how prompts are cut. */
import { describe, expect, it } from 'vitest'
import { policy } from './scheduler-setup.ts'

describe('Scheduler.schedule(), prefills', () => {
  const chunkings: readonly (readonly [number, number, number, readonly string[]])[] = [
    [1, 64, 8, ['a:1', 'a:1']],
    [7, 64, 8, ['a:7', 'a:1']],
    [8, 64, 8, ['a:8', 'a:1']],
    [9, 64, 8, ['a:8', 'a:1', 'a:1']],
    [10, 64, 8, ['a:8', 'a:2', 'a:1']],
    [5, 5, 8, ['a:5', 'a:1']],
    [6, 5, 8, ['a:5', 'a:1', 'a:1']],
    [3, 1, 8, ['a:1', 'a:1', 'a:1', 'a:1']],
    [2, 64, 1, ['a:1', 'a:1', 'a:1']],
  ]
  it.each(chunkings)('cuts a prompt of %i into chunks of at most %i and steps of at most %i rows', (...row) => {
    const [promptCount, prefillRowsMax, rowsMax, expected] = row
    const { add, step } = policy({ rowsMax }, prefillRowsMax)
    add(promptCount)
    expect(expected.map(() => step().join())).toEqual(expected)
  })

  it('runs every decode first; the chunk behind them holds the rows of as many prompts as fit', () => {
    const { add, step } = policy()
    add(2)
    add(2)
    add(20)
    add(1)
    expect(step()).toEqual(['a:2', 'b:2', 'c:4'])
    expect(step()).toEqual(['a:1', 'b:1', 'c:6'])
    expect(step()).toEqual(['a:1', 'b:1', 'c:6'])
    expect(step()).toEqual(['a:1', 'b:1', 'c:4', 'd:1'])
    expect(step()).toEqual(['a:1', 'b:1', 'c:1', 'd:1'])
  })

  const chunks: readonly (readonly [number, readonly string[]])[] = [
    [3, ['a:3', 'a:1,b:3', 'a:1,b:1,c:1', 'a:1,b:1,c:1']],
    [4, ['a:3,b:1', 'a:1,b:2,c:1', 'a:1,b:1,c:1']],
    [7, ['a:3,b:3,c:1', 'a:1,b:1,c:1']],
  ]
  it.each(chunks)(
    'prompts of 3, 3 and 1 share chunks of %i rows, the first in order first',
    (prefillRowsMax, expected) => {
      const { add, step } = policy({}, prefillRowsMax)
      for (const count of [3, 3, 1]) add(count)
      expect(expected.map(() => step().join())).toEqual(expected)
    },
  )

  it('a prefill that runs gets its rows before anyone is admitted, and the one due first before the others', () => {
    const { add, step } = policy({}, 4)
    add(6, { serviceClass: 'batch' })
    expect(step()).toEqual(['a:4'])
    add(9)
    expect(step()).toEqual(['a:2', 'b:2'])
    add(9, { serviceClass: 'think' })
    expect(step()).toEqual(['a:1', 'b:4'])
    expect(step()).toEqual(['a:1', 'b:3', 'c:1'])
  })

  it('prompts that begin alike and start together compute what they share once, in one step, and hold up nobody', () => {
    const { add, step } = policy({ rowsMax: 16 }, 16)
    add(9, { tenantId: 'acme' })
    const twin = add(9, { tenantId: 'acme' })
    add(9, { tenantId: 'zenith' })
    expect(step()).toEqual(['a:9', 'b:1', 'c:6'])
    expect(step()).toEqual(['a:1', 'b:1', 'c:3'])
    expect(twin.cachedTokenCount).toBe(8)
  })

  it('of prompts that are told the one due first is told first', () => {
    const { add, step } = policy({}, 4)
    add(13, { promptLogprobCount: 0, serviceClass: 'batch' })
    expect(step()).toEqual(['a:4'])
    add(9, { promptLogprobCount: 0 })
    expect([step(), step()]).toEqual([['b:4'], ['b:4']])
  })

  it('nobody waits for blocks that a prompt will fill in steps that tell it', () => {
    const { add, step } = policy({ rowsMax: 16 }, 16)
    add(9, { tenantId: 'acme', promptLogprobCount: 0 })
    add(9, { tenantId: 'acme' })
    expect(step()).toEqual(['b:9'])
    expect(step()).toEqual(['a:8'])
  })
})
