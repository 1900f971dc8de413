/** The local clock of scheduled duties, with time in the test's hand. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startCron } from '../../local/cron.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('startCron()', () => {
  it('begins a tick only when so much time has passed since the one before ended', async () => {
    const ticks: (() => void)[] = []
    const stop = startCron({ scheduled: () => new Promise((resolve) => ticks.push(resolve)) }, 60, () => undefined)
    await vi.advanceTimersByTimeAsync(59_999)
    expect(ticks).toHaveLength(0)
    await vi.advanceTimersByTimeAsync(300_000)
    expect(ticks).toHaveLength(1)
    ticks[0]?.()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(ticks).toHaveLength(2)
    stop()
    ticks[1]?.()
    await vi.advanceTimersByTimeAsync(300_000)
    expect(ticks).toHaveLength(2)
  })

  it('tells of a tick that failed, and goes on', async () => {
    const failures: unknown[] = []
    const stop = startCron({ scheduled: () => Promise.reject(new Error('away')) }, 1, (error) => failures.push(error))
    await vi.advanceTimersByTimeAsync(3_000)
    expect(failures).toHaveLength(3)
    stop()
  })

  it('never ticks at 0 seconds', async () => {
    let ticks = 0
    startCron({ scheduled: async () => void ticks++ }, 0, () => undefined)
    await vi.advanceTimersByTimeAsync(600_000)
    expect(ticks).toBe(0)
  })
})
