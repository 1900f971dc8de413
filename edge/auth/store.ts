/**
 * Who a key digest belongs to and what it may do, from D1, through a small cache in the isolate.
 *
 * The cache holds answers, present and absent, for a bounded time and in a bounded number: it bounds both D1's load and
 * how long a revocation can stay unseen here (admission looks at Redis as well). It never sees a key.
 */
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { serviceTiers, type ServiceTier, type TenantLimits } from '../../contract/quota.ts'
import { logError } from '../log.ts'

export const cacheMs = 5_000
const cacheEntriesMax = 4_096
const lookupDeadlineMs = 5_000

const strings = z.array(z.string())
const stringList = z.string().transform((json) => strings.parse(JSON.parse(json)))
const keyRow = z.object({
  id: z.string(),
  tenantId: z.string().nullable(),
  kind: z.enum(['live', 'admin']),
  scopes: stringList,
  models: stringList.nullable(),
  ipRanges: stringList.nullable(),
  expiresAtMs: z.number().nullable(),
  revokedAtMs: z.number().nullable(),
})
const tenantRow = z.object({
  tenantId: z.string(),
  requestsPerMinute: z.number(),
  tokensPerMinute: z.number(),
  concurrentRequestsMax: z.number(),
  queuedJobsMax: z.number(),
  queuedTokensMax: z.number(),
  monthlyBudgetNano: z.number().nullable(),
  weightMilli: z.number(),
  tiers: stringList.pipe(z.array(z.enum(serviceTiers))),
  defaultTier: z.enum(serviceTiers),
})

export interface StoredKey extends Omit<z.infer<typeof keyRow>, 'tenantId'> {
  /** Null for an admin key. */
  readonly tenant: {
    readonly id: string
    readonly limits: TenantLimits
    readonly tiers: readonly ServiceTier[]
    readonly defaultTier: ServiceTier
  } | null
}

interface CacheEntry {
  readonly key: StoredKey | null
  readonly untilMs: number
}

const cache = new Map<string, CacheEntry>()

const query = `SELECT api_keys.id, tenant_id AS tenantId, kind, scopes, models, ip_allowlist AS ipRanges,
    expires_at_ms AS expiresAtMs, coalesce(revoked_at_ms, archived_at_ms) AS revokedAtMs,
    requests_per_minute AS requestsPerMinute, tokens_per_minute AS tokensPerMinute,
    concurrent_requests_max AS concurrentRequestsMax, queued_jobs_max AS queuedJobsMax,
    queued_tokens_max AS queuedTokensMax, monthly_budget_nano AS monthlyBudgetNano, weight_milli AS weightMilli,
    tiers, default_tier AS defaultTier
  FROM api_keys LEFT JOIN tenants ON tenants.id = tenant_id
  WHERE digest = ? AND pepper_id = ?`

/** @throws AppError auth_unavailable when D1 does not answer; then nothing is cached. */
export async function findKey(
  db: D1Database,
  digest: string,
  pepperId: string,
  nowMs: number,
): Promise<StoredKey | null> {
  const known = cache.get(digest)
  if (known !== undefined && nowMs < known.untilMs) return known.key
  const key = await lookUp(db, digest, pepperId)
  remember(digest, { key, untilMs: nowMs + cacheMs })
  return key
}

async function lookUp(db: D1Database, digest: string, pepperId: string): Promise<StoredKey | null> {
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    const answer = db.prepare(query).bind(digest, pepperId).first()
    const deadline = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`D1 gave no answer in ${lookupDeadlineMs} ms`)), lookupDeadlineMs)
    })
    const row = await Promise.race([answer, deadline])
    return row === null ? null : storedKey(row)
  } catch (cause) {
    logError('key-lookup-failed', cause)
    throw new AppError('auth_unavailable', 'API keys cannot be checked right now. Try again shortly.', {
      cause,
      retryAfterMs: 1_000,
    })
  } finally {
    clearTimeout(timer)
  }
}

function storedKey(row: Record<string, unknown>): StoredKey {
  const { tenantId, ...key } = keyRow.parse(row)
  if (tenantId === null) return { ...key, tenant: null }
  const { tenantId: id, tiers, defaultTier, ...limits } = tenantRow.parse(row)
  return { ...key, tenant: { id, limits, tiers, defaultTier } }
}

/** Oldest entries leave first: a Map keeps the order of insertion. */
function remember(digest: string, entry: CacheEntry): void {
  cache.delete(digest)
  cache.set(digest, entry)
  for (const oldest of cache.keys()) {
    if (cache.size <= cacheEntriesMax) break
    cache.delete(oldest)
  }
}
