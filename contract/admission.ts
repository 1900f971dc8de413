/**
 * What `admit.lua` is asked and what it answers, in the shapes of its header.
 *
 * It knows neither Redis nor where limits and prices come from.
 */
import type { JobId } from './ids.ts'
import type { JobRequest } from './job.ts'
import * as limits from './limits.ts'
import type { TokenPrice } from './money.ts'
import { limitReasons, type LimitReason, type RateState, type ServiceTier, type TenantLimits } from './quota.ts'

export interface Admission {
  readonly jobId: JobId
  readonly tenantId: string
  readonly keyId: string
  readonly model: string
  readonly isBackground: boolean
  /** Decimal integer: the client's, or one the Broker drew. */
  readonly seed: bigint
  readonly request: JobRequest
  readonly shard: number
  readonly laneCount: number
  readonly tier: ServiceTier
  readonly limits: TenantLimits
  /** Judged by Redis time; null = never. */
  readonly keyExpiresAtMs: number | null
  /** Prompt and answer at the worst case, each alone; the context bounds their sum. */
  readonly promptTokensMax: number
  readonly answerTokensMax: number
  readonly contextTokens: number
  /** What is expected: fairness charges it, and corrects it at the end. */
  readonly fairTokens: number
  /** The tier's factor is in it. */
  readonly price: TokenPrice
  readonly idempotency: { readonly keyDigest: string; readonly bodyDigest: string } | null
  /** Tests lower them; everyone else leaves them to the limits. */
  readonly cell?: Partial<CellLimits>
}

const fullReasons = ['jobs', 'wait', 'undrained'] as const

export interface CellLimits {
  readonly openJobsMax: number
  readonly waitMaxMs: number
  readonly undrainedRowsMax: number
}

export type AdmitResult =
  | { readonly kind: 'admitted'; readonly lane: number; readonly priority: number; readonly rate: RateState }
  | { readonly kind: 'replay'; readonly jobId: string; readonly rate: RateState }
  | { readonly kind: 'reused' | 'revoked' | 'expired' }
  | {
      readonly kind: 'limited'
      readonly reason: LimitReason
      /** Null: no wait helps this request. */
      readonly retryAfterMs: number | null
      readonly rate: RateState
    }
  | { readonly kind: 'over-budget'; readonly rate: RateState }
  /** The month's spend is not known here: seed it, then admit again. */
  | { readonly kind: 'budget-unknown'; readonly month: number }
  | {
      readonly kind: 'full'
      readonly reason: (typeof fullReasons)[number]
      readonly retryAfterMs: number
      readonly rate: RateState
    }

/** `terms` of admit.lua, JSON. Absent is -1 for a budget and 0 for an expiry. */
export function encodeTerms(admission: Admission): string {
  const { limits: tenant, price, cell, tier } = admission
  return JSON.stringify({
    tier,
    tierOffset: limits.tierOffsets[tier] * limits.tierHeadStartTokens,
    weightMilli: tenant.weightMilli,
    fairTokens: admission.fairTokens,
    promptTokensMax: admission.promptTokensMax,
    answerTokensMax: admission.answerTokensMax,
    contextTokens: admission.contextTokens,
    priceInput: price.inputMicro,
    priceCached: price.cachedInputMicro,
    priceOutput: price.outputMicro,
    requestsPerMinute: tenant.requestsPerMinute,
    tokensPerMinute: tenant.tokensPerMinute,
    concurrentRequestsMax: tenant.concurrentRequestsMax,
    queuedJobsMax: tenant.queuedJobsMax,
    queuedTokensMax: tenant.queuedTokensMax,
    monthlyBudgetNano: tenant.monthlyBudgetNano ?? -1,
    keyExpiresAtMs: admission.keyExpiresAtMs ?? 0,
    slotTtlMs: limits.idempotencyTtlMs,
    keepMs: admission.idempotency === null ? limits.recordTtlMs : limits.idempotencyTtlMs,
    openJobsMax: cell?.openJobsMax ?? limits.openJobsMax,
    waitMaxMs: cell?.waitMaxMs ?? limits.waitMaxMs[tier],
    undrainedRowsMax: cell?.undrainedRowsMax ?? limits.usageRowsMax,
    tokensPerPriority: limits.tokensPerPriority,
    priorityMax: limits.priorityMax,
    retryAfterMaxMs: limits.retryAfterMaxMs,
  })
}

/** @returns null for a reply that the script's header does not list. */
export function decodeAdmitReply(reply: readonly (string | number)[], tenant: TenantLimits): AdmitResult | null {
  const [kind, first, second] = reply
  const rate = (from: number): RateState => {
    const [remainingRequests = 0, resetRequestsMs = 0, remainingTokens = 0, resetTokensMs = 0] = reply
      .slice(from)
      .map(Number)
    return {
      limitRequests: tenant.requestsPerMinute,
      remainingRequests,
      resetRequestsMs,
      limitTokens: tenant.tokensPerMinute,
      remainingTokens,
      resetTokensMs,
    }
  }
  switch (kind) {
    case 'admitted':
      return { kind, lane: Number(first), priority: Number(second), rate: rate(3) }
    case 'replay':
      return { kind, jobId: String(first), rate: rate(2) }
    case 'reused':
    case 'revoked':
    case 'expired':
      return { kind }
    case 'limited': {
      const retryAfterMs = Number(second)
      const reason = limitReasons.find((candidate) => candidate === first)
      return reason === undefined
        ? null
        : { kind, reason, retryAfterMs: retryAfterMs < 0 ? null : retryAfterMs, rate: rate(3) }
    }
    case 'over-budget':
      return { kind, rate: rate(1) }
    case 'budget-unknown':
      return { kind, month: Number(first) }
    case 'full': {
      const reason = fullReasons.find((candidate) => candidate === first)
      return reason === undefined ? null : { kind, reason, retryAfterMs: Number(second), rate: rate(3) }
    }
    default:
      return null
  }
}
