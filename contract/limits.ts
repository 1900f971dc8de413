/**
 * Every number that crosses a process, in one place, with the relations that must hold between them.
 *
 * It knows no behaviour: who obeys a limit imports it from here. Units stand last in the name.
 */
import assert from 'node:assert/strict'
import type { ServiceTier } from './quota.ts'

/** BullMQ lock on a running job. Lost after this long without renewal: another worker may take the job over. */
export const lockMs = 5_000
export const lockRenewMs = 1_500
/** The janitor's stalled check, for every queue. Two passes find a dead worker's job. */
export const stalledCheckMs = 1_000
/** Takeovers after which BullMQ gives a job up: it has then killed `stalledCountMax + 1` workers. */
export const stalledCountMax = 3
/** A job taken over this often runs alone in its worker, so that its neighbours do not die with it again. */
export const suspectStalledCount = 2
export const workerRestartMs = 2_000
/** From a worker's death to the next token of its jobs. */
export const takeoverBudgetMs = 10_000

export const heartbeatMs = 1_000
export const heartbeatTtlMs = 5_000

export const bodyBytesMax = 4 * 1024 * 1024
export const messagesMax = 2_048
export const stopStringsMax = 4
export const stopStringBytesMax = 256
export const modelIdBytesMax = 256
export const idempotencyKeyCharsMax = 255
/** Above every vocabulary, where top-k has no effect any more; a GPU's u32 holds it. */
export const topKMax = 2 ** 31 - 1
/** Of frequency and presence, either way. */
export const penaltyMax = 2
/** Repetition divides and multiplies: as far below 1 as above. */
export const repetitionPenaltyMax = 100
export const logitBiasMax = 100
export const biasedTokensMax = 512
/** Likeliest tokens told beside each token of an answer. */
export const topLogprobsMax = 20

/** Jobs admitted and not yet ended, in the whole cell; beyond it requests are shed. */
export const openJobsMax = 10_000
/** A job that has not ended after this long is expired by the janitor. */
export const jobAgeMaxMs = 15 * 60_000
/** An admitted job whose `Queue.add` was lost is added again after this long. */
export const requeueAfterMs = 2_000
/** How long an ended job's record and token log can still be read. */
export const recordTtlMs = 60 * 60_000
export const idempotencyTtlMs = 24 * 60 * 60_000
/** Outbox rows kept in their stream until delivered; a safety bound on memory, not a retention policy. */
export const outboxRowsMax = 1_000_000

/** Usage rows that wait to be drained; beyond it nothing is admitted, since a bill is never dropped. */
export const usageRowsMax = 1_000_000
/** Usage rows that one drain takes at a time. */
export const drainPageRows = 500

/** In no sliding window of this length is more admitted than a tenant's limits. */
export const windowMs = 60_000
/** µUSD per million tokens, the highest price. */
export const priceMicroMax = 1_000_000_000
/** A request that is expected to wait longer is shed. */
export const waitMaxMs: Readonly<Record<ServiceTier, number>> = {
  priority: 120_000,
  default: 120_000,
  flex: 600_000,
  batch: jobAgeMaxMs,
}
/** SDKs obey a Retry-After up to here. */
export const retryAfterMaxMs = 120_000
/**
 * In milliseconds they are told no more: OpenAI's for Node takes a longer wait for none, and is back within a second.
 */
export const retryAfterToldMaxMs = 60_000

/**
 * A known key is served from the isolate's memory this long without asking anyone; the rest of the budget is for the
 * way.
 */
export const keyFreshMs = 4_000
/** With D1 away a known key is served this long, as long as Redis says that it is not revoked. */
export const keyStaleMaxMs = 60 * 60_000
/** From the answer to a revocation until the key is refused everywhere. */
export const revocationBudgetMs = 5_000

/** Status and headers go out at the first log event, or after this long. */
export const headersAfterMs = 5_000
/** Keep-alive comments while a request waits or prefills: a client that left is only seen at a failed write. */
export const keepAliveWaitingMs = 2_000
export const keepAliveMs = 15_000
/** A stream's client that lost its connection comes back after this long, from the first to below the second. */
export const reconnectMs = { from: 1_000, below: 5_000 } as const
/** A foreground stream with an Idempotency-Key runs on this long without its client. */
export const disconnectGraceMs = 30_000

/** Claimed jobs a worker holds, in units of its slots. */
export const windowPerSlot = 2
/** BullMQ's highest priority value; 0 would jump the queue. */
export const priorityMax = 2 ** 21 - 1
/** Service, in tokens, that makes one step of BullMQ priority. */
export const tokensPerPriority = 64
/** How far, in tokens of virtual time, one tier stands before the next; a head start is finite, so nobody starves. */
export const tierHeadStartTokens = 262_144
/** Place of a tier behind the first one, in head starts. */
export const tierOffsets: Readonly<Record<ServiceTier, number>> = { priority: 0, default: 1, flex: 2, batch: 4 }
/** Answer tokens that fairness expects of a request that names no maximum; corrected at the job's end. */
export const answerTokensGuess = 512
/** Steps of priority after which their zero moves up to virtual time. */
export const rebaseSteps = 2 ** 20
/** Another lane's head is taken before the own lane's when it is older by more than this. */
export const laneSlackMs = 250

assert(lockRenewMs * 3 <= lockMs, 'a lock survives two lost renewals')
assert(
  lockMs + 2 * stalledCheckMs + workerRestartMs <= takeoverBudgetMs,
  'a dead worker is found and replaced within the takeover budget',
)
assert(heartbeatMs * 3 <= heartbeatTtlMs, 'a heartbeat survives two lost writes')
assert(suspectStalledCount <= stalledCountMax, 'a suspect job still gets a run of its own')
assert(keepAliveWaitingMs < headersAfterMs && headersAfterMs < keepAliveMs, 'waits are ordered')
assert(jobAgeMaxMs < recordTtlMs && recordTtlMs < idempotencyTtlMs, 'a record outlives its job, a slot its record')
assert(reconnectMs.from < reconnectMs.below && reconnectMs.below < disconnectGraceMs, 'who comes back finds its job')
assert(stopStringsMax * stopStringBytesMax < bodyBytesMax, 'stop strings fit a body')
assert(keyFreshMs < revocationBudgetMs && keyFreshMs < keyStaleMaxMs, 'no memory outlives a revocation')
assert(drainPageRows < usageRowsMax, 'a drain takes less than may wait')
assert(Math.max(...Object.values(waitMaxMs)) <= jobAgeMaxMs, 'a job that may wait is not expired for waiting')
assert(
  rebaseSteps + (Math.max(...Object.values(tierOffsets)) * tierHeadStartTokens) / tokensPerPriority < priorityMax,
  'between two rebases every tier keeps a priority of its own',
)
