/**
 * The fuzzer of checkpoint folders: its short run, and that it would notice. In full: `npm run prove -- fuzz`.
 */
import { describe, expect, it } from 'vitest'
import { corpus } from '../prove/fuzz/cases.ts'
import { Hunt } from '../prove/fuzz/hunt.ts'
import { fuzz } from '../prove/fuzz.ts'

describe('the fuzzer', { timeout: 120_000 }, () => {
  it('400 broken folders load or are refused by name: no other error, no crash, no hang, no large allocation', async () => {
    const { loaded, refused } = await fuzz({ full: false })
    expect(loaded + refused).toBe(400)
    // Changes that nothing notices would prove nothing.
    expect(loaded).toBeGreaterThan(20)
    expect(refused).toBeGreaterThan(200)
  })

  it.each(['axle', 'unchecked'])('%s loads every folder that nothing was done to', async (reader) => {
    const hunt = await Hunt.open(reader, Object.keys(corpus))
    try {
      for (const [base, [file = '']] of Object.entries(corpus)) {
        expect(await hunt.run({ base, file, change: { kind: 'bytes', edits: [] } })).toEqual({ kind: 'loaded' })
      }
    } finally {
      await hunt.close()
    }
  })

  it.each([
    ['unchecked', /Neither loaded nor refused: (TypeError|RangeError|SyntaxError)|MiB of memory/],
    ['hanging', /took over 3000 ms/],
    ['hoarding', /took 1\d{3} MiB of memory/],
    ['dying', /died of it: exit code 3/],
  ])('a reader that is %s is caught', async (reader, problem) => {
    const caught: unknown = await fuzz({ full: false, reader, deadlineMs: 3000 }).catch((error: unknown) => error)
    expect(caught).toBeInstanceOf(Error)
    expect(caught instanceof Error && String(caught.cause)).toMatch(problem)
  })
})
