/** What the one terminal entry of a log means to a client: an answer, or which error. Knows no shape of either. */
import { AppError, type ErrorFacts } from '../contract/errors.ts'
import type { EndEntry } from '../contract/event.ts'

/** @returns null for an end that is an answer. */
export function endError(entry: EndEntry): ErrorFacts | null {
  switch (entry.status) {
    case 'completed':
    case 'incomplete':
      return null
    case 'failed':
      return entry.error ?? { code: 'worker_failed', message: 'The request failed while it ran.', param: null }
    case 'expired':
      return (
        entry.error ?? { code: 'job_expired', message: 'The request waited too long and was given up.', param: null }
      )
    case 'cancelled':
      return { code: 'cancelled', message: 'The request was cancelled.', param: null }
    default:
      return entry.status satisfies never
  }
}

/** A job that ended without an answer: final, so that whoever asks under the same Idempotency-Key is told the same. */
export class JobFailure extends AppError {
  constructor({ code, message, param }: ErrorFacts, shouldRetry?: boolean) {
    super(code, message, { param, ...(shouldRetry === undefined ? {} : { shouldRetry }) })
  }
}
