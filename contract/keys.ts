/**
 * The Redis key layout. Every key, BullMQ's too, carries the one hash tag `{axle}`: one primary is one cell.
 *
 * No tenant-chosen string ever becomes part of a key: names are ids of ours or digests.
 */
import type { JobId } from './ids.ts'

const tag = '{axle}'

/** BullMQ's `prefix` option. */
export const bullPrefix = `${tag}:bull`

/** What the keys of all job records begin with. */
export const jobKeyPrefix = `${tag}:job:`

export const keys = {
  /** Hash: the job record. */
  job: (id: JobId) => `${jobKeyPrefix}${id}`,
  /** Stream: the token log; entry ids are `<sequence number>-0`, from 1. */
  log: (id: JobId) => `${tag}:log:${id}`,
  /** String: idempotency slot of (tenant, digest of the client's key). */
  idempotency: (tenantId: string, keyDigest: string) => `${tag}:idempotency:${tenantId}:${keyDigest}`,
  /** Sorted set: jobs admitted and not yet ended; score = admission, ms of Redis time. */
  open: `${tag}:open`,
  /** Hash: lane index → jobs admitted to it and not yet ended. */
  laneLoad: `${tag}:lane-load`,
  /** Hash: `virtual`, one a tier too, `base`; per flow (tenant, tier) its finish tag and last start (fair queueing). */
  fair: `${tag}:fair`,
  /** Hash: a tenant's counters: requests and tokens of the last minute, open and queued jobs, money. */
  quota: (tenantId: string) => `${tag}:quota:${tenantId}`,
  /** Hash: the cell's counters: what is queued, what was served, for shedding and metrics. */
  cell: `${tag}:cell`,
  /** Hash: what the gateways counted, for metrics. */
  gateway: `${tag}:gateway`,
  /** Set: revoked key ids and archived tenants' ids, written by the edge before D1. */
  revoked: `${tag}:revoked`,
  /** Stream: one usage row an ended job, until drained into D1. */
  usage: `${tag}:usage`,
  /** Stream: usage rows that could not be read, for a person to look at. */
  unreadableUsage: `${tag}:usage:unreadable`,
  /** Stream: one row a terminal background job, until delivered as a webhook. */
  outbox: `${tag}:outbox`,
  /** String: heartbeat of one GPU worker, JSON, expiring. */
  worker: (workerId: string) => `${tag}:worker:${workerId}`,
  /** Set: worker ids that may have a heartbeat. */
  workers: `${tag}:workers`,
  /** String: what this deployment serves, JSON; outlives the workers. */
  servedModel: `${tag}:served-model`,
  /** String: ms added to Redis time by every script. Absent outside tests. */
  clockOffset: `${tag}:clock-offset-ms`,
} as const

export const channels = {
  /** Token log entries of one Broker shard: `<jobId> <sequence number> <entry>`. */
  live: (shard: number) => `${tag}:live:${shard}`,
  /** Job ids to cancel. */
  cancel: `${tag}:cancel`,
  /** A lane has a new job; the message is the lane's index. */
  wake: `${tag}:wake`,
} as const

/** BullMQ queue of one lane. */
export function laneName(lane: number): string {
  return `lane-${lane}`
}

/**
 * BullMQ's sorted set of waiting jobs in a lane; score = priority · 2³² + arrival. Read only, to compare lane heads.
 */
export function laneHeadKey(lane: number): string {
  return `${bullPrefix}:${laneName(lane)}:prioritized`
}

/**
 * BullMQ's list of a lane's jobs that stalled: it puts them here, not back among the prioritized, and serves this list
 * first, from its tail. Read only, to compare lane heads.
 */
export function laneStalledKey(lane: number): string {
  return `${bullPrefix}:${laneName(lane)}:wait`
}

/** What divides `laneHeadKey`'s scores into priority and arrival. */
export const priorityScore = 2 ** 32
