/** Limits and keys: the relations that a change of one number must not break. */
import { describe, expect, it } from 'vitest'
import { newJobId } from '../../contract/ids.ts'
import { channels, keys, laneHeadKey, laneStalledKey, priorityScore } from '../../contract/keys.ts'
import * as limits from '../../contract/limits.ts'

describe('the limits', () => {
  it('leave a dead worker’s jobs time to go on within the takeover budget', () => {
    const { lockMs, stalledCheckMs, workerRestartMs, takeoverBudgetMs } = limits
    expect(lockMs + 2 * stalledCheckMs + workerRestartMs).toBeLessThanOrEqual(takeoverBudgetMs)
  })

  it('keep BullMQ’s scores exact: priority and arrival fit a double', () => {
    expect((limits.priorityMax + 1) * priorityScore).toBeLessThanOrEqual(2 ** 53)
    expect(limits.priorityMax).toBe(2_097_151)
  })

  it('are whole and positive', () => {
    const numbers = Object.values(limits).filter((value) => typeof value === 'number')
    expect(numbers.length).toBeGreaterThan(20)
    expect(numbers.filter((value) => !Number.isSafeInteger(value) || value <= 0)).toEqual([])
  })
})

describe('every key and channel', () => {
  it('carries the one hash tag of the cell', () => {
    const jobId = newJobId(0, new Uint8Array(16))
    const names = [
      ...Object.values(keys).map((key) =>
        typeof key === 'string'
          ? key
          : key.length === 2
            ? keys.idempotency('t', 'd')
            : key === keys.worker
              ? keys.worker('w')
              : keys.job(jobId),
      ),
      channels.live(0),
      channels.cancel,
      channels.wake,
      laneHeadKey(0),
      laneStalledKey(0),
    ]
    expect(names.filter((name) => !/^\{axle\}:[^{}]+$/.test(name))).toEqual([])
    expect(new Set(names.concat(keys.log(jobId))).size).toBeGreaterThan(15)
  })
})
