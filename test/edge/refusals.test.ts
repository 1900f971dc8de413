/** What a refused request is told to wait: a crowd spreads, what is known stays exact. */
import { describe, expect, it } from 'vitest'
import type { AppError } from '../../contract/errors.ts'
import { newJobId, type JobId } from '../../contract/ids.ts'
import { refusalOf } from '../../edge/broker/refusals.ts'
import { noLimits } from '../fixtures/job-desk.ts'

const rate = {
  limitRequests: 9,
  remainingRequests: 9,
  resetRequestsMs: 0,
  limitTokens: 9,
  remainingTokens: 9,
  resetTokensMs: 0,
}

function jobIdOf(index: number): JobId {
  return newJobId(0, new Uint8Array(16).fill(index))
}

function refused(jobId: JobId, reason: 'concurrency' | 'queued-jobs' | 'requests'): AppError {
  return refusalOf({ kind: 'limited', reason, retryAfterMs: 1_000, rate }, { jobId, limits: noLimits })
}

describe('a refusal by a limit', () => {
  it.each(['concurrency', 'queued-jobs'] as const)('of %s sends a crowd back spread over two seconds', (reason) => {
    const waits = Array.from({ length: 32 }, (_, index) => refused(jobIdOf(index), reason).retryAfterMs ?? 0)
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1_000)
    expect(Math.max(...waits)).toBeLessThan(3_000)
    expect(new Set(waits).size).toBeGreaterThan(24)
  })

  it('of a minute tells the moment that is known, in the header and in its text', () => {
    const refusal = refused(jobIdOf(1), 'requests')
    expect(refusal.retryAfterMs).toBe(1_000)
    expect(refusal.message).toMatch(/ Try again in 1 s\.$/)
  })
})
