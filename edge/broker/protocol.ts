/**
 * What the gateway and a Broker say to each other: requests as JSON, a job's log as lines.
 *
 * Both ends are one bundle, so the shapes are trusted, not parsed again. A log stream says whose it is in a header, and
 * then is
 *
 *     12 {entry}\n           place in the log, and the entry as it stands there
 *     ! {error}\n            the stream breaks here, and why
 *
 * It knows neither HTTP's frames nor Redis.
 */
import type { ErrorFacts } from '../../contract/errors.ts'
import type { JobId } from '../../contract/ids.ts'
import type { JobRequest } from '../../contract/job.ts'
import { disconnectGraceMs } from '../../contract/limits.ts'
import type { RateState, ServiceTier, TenantLimits } from '../../contract/quota.ts'
import type { ModeChoice } from '../mode.ts'
import type { UsageRow } from '../usage/usage-row.ts'

/** Admit a new job and read its log from the first entry. */
export interface Order {
  readonly jobId: JobId
  readonly tenantId: string
  readonly keyId: string
  readonly keyExpiresAtMs: number | null
  /** Ids or aliases that the key may name; null = any. */
  readonly models: readonly string[] | null
  readonly limits: TenantLimits
  readonly tiers: readonly ServiceTier[]
  readonly defaultTier: ServiceTier
  readonly tier: ServiceTier | 'auto'
  /** As the client named it: an id or an alias. */
  readonly model: string
  readonly mode: ModeChoice
  /** Null: the Broker draws one. */
  readonly seed: number | null
  readonly request: Omit<JobRequest, 'thinking'>
  readonly idempotency: Idempotency | null
}

export interface Idempotency {
  /** SHA-256 of the client's Idempotency-Key. */
  readonly keyDigest: string
  /** SHA-256 of route and canonical body. */
  readonly bodyDigest: string
  /** The client says it has read up to here: then only an existing job will do. */
  readonly isResumption: boolean
}

/** Read the log of a job that exists. */
export interface Attachment {
  readonly jobId: JobId
  readonly tenantId: string
  /** The client has read up to here; a log that is shorter is an error. */
  readonly after: number
  readonly graceMs: number
}

/** How long a job runs on without a reader: only one that can be asked for again does. */
export function graceMsOf(order: Order): number {
  return order.idempotency === null ? 0 : disconnectGraceMs
}

export interface Opening {
  readonly model: string
  readonly isThinking: boolean
  readonly tier: ServiceTier
  /** Null where nobody asked for admission: the stream is taken up again. */
  readonly rate: RateState | null
  /** The job was ordered before under the same Idempotency-Key. */
  readonly isReplay: boolean
}

/** Answer to an order whose idempotency slot was taken: attach to that job, at its own shard. */
export interface Elsewhere {
  readonly jobId: JobId
  readonly rate: RateState
}

export interface Refusal extends ErrorFacts {
  readonly retryAfterMs: number | null
  readonly shouldRetry: boolean
  readonly rate: RateState | null
}

/** What the gateway tells a Broker, or asks of it, besides jobs. */
export type Control =
  /** Key and tenant ids that nothing may be admitted or started for any more. */
  | { readonly kind: 'revoke'; readonly ids: readonly string[] }
  /** Nobody asks for these any more: D1 alone refuses them from now on. */
  | { readonly kind: 'forget-revoked'; readonly ids: readonly string[] }
  | { readonly kind: 'is-revoked'; readonly ids: readonly string[] }
  /** Usage rows not yet drained, oldest first. */
  | { readonly kind: 'usage-page'; readonly rowsMax: number }
  /** These rows stand in D1. */
  | { readonly kind: 'usage-ack'; readonly streamIds: readonly string[] }
  /** What a tenant's month has cost and has reserved; zeros when nothing is known. */
  | { readonly kind: 'spend'; readonly tenantId: string }
  /** Adds to the gateways' counters. */
  | { readonly kind: 'count'; readonly counters: Readonly<Record<string, number>> }

interface ControlAnswers {
  readonly revoke: Readonly<Record<string, never>>
  readonly 'forget-revoked': Readonly<Record<string, never>>
  readonly 'is-revoked': { readonly revoked: boolean }
  readonly 'usage-page': { readonly rows: readonly UsageRow[] }
  readonly 'usage-ack': Readonly<Record<string, never>>
  readonly spend: { readonly month: number; readonly spentNano: number; readonly reservedNano: number }
  readonly count: Readonly<Record<string, never>>
}
export type ControlAnswer<Kind extends Control['kind']> = ControlAnswers[Kind]

/** What the deployment serves, for the routes that tell. */
export interface Fleet {
  readonly model: { readonly id: string; readonly aliases: readonly string[]; readonly created: number } | null
  readonly isReady: boolean
}

export const brokerPaths = { open: '/open', attach: '/attach', fleet: '/fleet', control: '/control' } as const
export const elsewhereStatus = 303
export const brokenMark = '! '

const openingHeader = 'x-opening'

export function logResponse(opening: Opening, log: ReadableStream<Uint8Array>): Response {
  return new Response(log, { headers: { [openingHeader]: encodeURIComponent(JSON.stringify(opening)) } })
}

export function openingOf(response: Response): Opening {
  return JSON.parse(decodeURIComponent(response.headers.get(openingHeader) ?? '')) as Opening
}

export function brokerName(shard: number): string {
  return `broker-${shard}`
}

/** @throws TypeError for a name of another make. */
export function shardOfBroker(name: string | undefined): number {
  const shard = Number(/^broker-(\d+)$/.exec(name ?? '')?.[1] ?? Number.NaN)
  if (!Number.isInteger(shard)) throw new TypeError('A Broker is addressed by a name that holds its shard')
  return shard
}
