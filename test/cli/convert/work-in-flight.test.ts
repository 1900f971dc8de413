/** Work under way is bounded, and a failure reaches whoever adds more or waits for all. */
import { describe, expect, it } from 'vitest'
import { WorkInFlight } from '../../../cli/convert/work-in-flight.ts'

describe('WorkInFlight', () => {
  it('lets whoever adds wait until there is room', async () => {
    const inFlight = new WorkInFlight(2)
    const first = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    await inFlight.add(first.promise)
    let isAdded = false
    const adding = inFlight.add(second.promise).then(() => (isAdded = true))
    await Promise.resolve()
    expect(isAdded).toBe(false)
    second.resolve()
    await adding
    first.resolve()
    await inFlight.drain()
    expect(isAdded).toBe(true)
  })

  it('tells the first failure to the next that adds, and to who drains, and rejects nothing unheard', async () => {
    const inFlight = new WorkInFlight(4)
    await inFlight.add(Promise.reject(new Error('first'))).catch(() => null)
    await inFlight.add(Promise.reject(new Error('second'))).catch(() => null)
    await inFlight.settle()
    await expect(inFlight.add(Promise.resolve())).rejects.toThrow('first')
    await expect(inFlight.drain()).rejects.toThrow('first')
  })
})
