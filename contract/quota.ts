/**
 * What a tenant may use, what is left of it, and where its jobs stand in the queue. Shapes and one formula.
 *
 * It knows neither who stores limits nor who counts: `contract/lua/` does, by the same words.
 */
import { priorityMax, tokensPerPriority } from './limits.ts'

/** From the one served first to the one served last. */
export const serviceTiers = ['priority', 'default', 'flex', 'batch'] as const
export type ServiceTier = (typeof serviceTiers)[number]

/** Limits of one tenant, over all of its keys. */
export interface TenantLimits {
  readonly requestsPerMinute: number
  readonly tokensPerMinute: number
  /** Jobs admitted and not yet ended. */
  readonly concurrentRequestsMax: number
  /** Jobs that no worker has claimed yet, and their tokens at the worst case. */
  readonly queuedJobsMax: number
  readonly queuedTokensMax: number
  /** Nano-USD a UTC calendar month; null = none. */
  readonly monthlyBudgetNano: number | null
  /** Share of the cell under contention, in thousandths. */
  readonly weightMilli: number
}

/** What `x-ratelimit-*` says: behind every admission that looked at the counters. */
export interface RateState {
  readonly limitRequests: number
  readonly remainingRequests: number
  /** Until all of the limit is back. */
  readonly resetRequestsMs: number
  readonly limitTokens: number
  readonly remainingTokens: number
  readonly resetTokensMs: number
}

export const limitReasons = ['requests', 'tokens', 'concurrency', 'queued-jobs', 'queued-tokens'] as const
export type LimitReason = (typeof limitReasons)[number]

/**
 * BullMQ's priority of a waiting job: never 0, which jumps the queue. `include/fair.lua` says the same.
 *
 * @param queueTag tokens of virtual time, the tier's head start in it
 * @param base the virtual time that priorities count from
 */
export function priorityOf(queueTag: number, base: number): number {
  return Math.max(1, Math.min(1 + Math.floor((queueTag - base) / tokensPerPriority), priorityMax))
}
