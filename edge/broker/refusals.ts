/**
 * Why `admit` took a request not in → the error its client sees, with what is left and when a retry may help.
 *
 * It knows the words, not the counting.
 */
import type { AdmitResult } from '../../contract/admission.ts'
import { AppError } from '../../contract/errors.ts'
import { spread, type JobId } from '../../contract/ids.ts'
import type { LimitReason, TenantLimits } from '../../contract/quota.ts'

type Refused = Exclude<AdmitResult, { kind: 'admitted' | 'replay' }>

/** Nobody knows when one of a tenant's own jobs will end: who was refused together comes back spread over so long. */
const crowdSpreadMs = 2_000

export function refusalOf(
  result: Refused,
  { jobId, limits }: { readonly jobId: JobId; readonly limits: TenantLimits },
): AppError {
  switch (result.kind) {
    case 'reused':
      return new AppError(
        'idempotency_key_reused',
        'This Idempotency-Key was used with another request body. Use a fresh key for a different request.',
      )
    case 'revoked':
      return new AppError('key_revoked', 'This API key was revoked. Use another key.')
    case 'expired':
      return new AppError('key_expired', 'This API key has expired. Use another key.')
    case 'limited': {
      const { reason, rate } = result
      const isGuess = reason === 'concurrency' || reason === 'queued-jobs'
      const spreadMs = isGuess ? spread(jobId, crowdSpreadMs) : 0
      const retryAfterMs = result.retryAfterMs === null ? null : result.retryAfterMs + spreadMs
      const isNever = retryAfterMs === null
      const message = isNever
        ? never(reason, limits)
        : `${reached(reason, limits)} Try again in ${Math.ceil(retryAfterMs / 1_000)} s.`
      return new AppError('rate_limit_exceeded', message, { retryAfterMs, shouldRetry: !isNever, rate })
    }
    case 'over-budget':
      return new AppError(
        'insufficient_quota',
        "This request may cost more than is left of the project's monthly budget. Send a smaller max_completion_tokens, or have the budget raised.",
        { rate: result.rate },
      )
    case 'budget-unknown':
      return new AppError('queue_unavailable', "The project's spend is being looked up. Try again shortly.", {
        retryAfterMs: 1_000,
      })
    case 'full':
      return new AppError('server_is_overloaded', 'Too many requests are waiting. Try again shortly.', {
        retryAfterMs: result.retryAfterMs,
        rate: result.rate,
      })
    default:
      return result satisfies never
  }
}

function reached(reason: LimitReason, limits: TenantLimits): string {
  switch (reason) {
    case 'requests':
      return `The project's limit of ${limits.requestsPerMinute} requests a minute is reached.`
    case 'tokens':
      return `The project's limit of ${limits.tokensPerMinute} tokens a minute is reached.`
    case 'concurrency':
      return `The project's limit of ${limits.concurrentRequestsMax} concurrent requests is reached.`
    case 'queued-jobs':
      return `The project's limit of ${limits.queuedJobsMax} queued requests is reached.`
    case 'queued-tokens':
      return `The project's limit of ${limits.queuedTokensMax} queued tokens is reached.`
    default:
      return reason satisfies never
  }
}

/** No wait lets the request pass. */
function never(reason: LimitReason, limits: TenantLimits): string {
  if (reason === 'tokens') return tooLarge(limits.tokensPerMinute, 'tokens a minute')
  if (reason === 'queued-tokens') return tooLarge(limits.queuedTokensMax, 'queued tokens')
  return `${reached(reason, limits)} Have it raised.`
}

function tooLarge(limit: number, unit: string): string {
  return `The request may need more than the project's limit of ${limit} ${unit}. Send a smaller max_completion_tokens.`
}
