/**
 * What is left of a tenant's limits, as `x-ratelimit-*` headers with OpenAI's names and durations as Go writes them.
 *
 * It knows the numbers, not who counted them.
 */
import type { RateState } from '../contract/quota.ts'

export function setRateHeaders(headers: Headers, rate: RateState): void {
  headers.set('x-ratelimit-limit-requests', String(rate.limitRequests))
  headers.set('x-ratelimit-remaining-requests', String(rate.remainingRequests))
  headers.set('x-ratelimit-reset-requests', goDuration(rate.resetRequestsMs))
  headers.set('x-ratelimit-limit-tokens', String(rate.limitTokens))
  headers.set('x-ratelimit-remaining-tokens', String(rate.remainingTokens))
  headers.set('x-ratelimit-reset-tokens', goDuration(rate.resetTokensMs))
}

/** 0 → `0s`, 120 → `120ms`, 2600 → `2.6s`, 360000 → `6m0s`, 3600000 → `1h0m0s`. */
export function goDuration(durationMs: number): string {
  if (durationMs === 0) return '0s'
  if (durationMs < 1_000) return `${durationMs}ms`
  const hours = Math.floor(durationMs / 3_600_000)
  const minutes = Math.floor(durationMs / 60_000) % 60
  const seconds = `${(durationMs % 60_000) / 1_000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}
