/**
 * What D1 holds of a key and of its tenant's terms: the query and its row, parsed. Also what D1 is told of a key's use.
 *
 * It knows neither when D1 is asked nor what a key may do.
 */
import { z } from 'zod'
import { serviceTiers, type ServiceTier, type TenantLimits } from '../../contract/quota.ts'
import { jsonTexts } from '../d1/answer.ts'
import type { KeyDigest } from './digest.ts'

/** Times a key's last use is written, at most. */
export const lastUsedEachMs = 60_000

const keyRow = z.object({
  id: z.string(),
  tenantId: z.string().nullable(),
  kind: z.enum(['live', 'admin']),
  pepperId: z.string(),
  scopes: jsonTexts,
  models: jsonTexts.nullable(),
  ipRanges: jsonTexts.nullable(),
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
  tiers: jsonTexts.pipe(z.array(z.enum(serviceTiers))),
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

/** A key of an archived tenant counts as revoked. */
const query = `SELECT api_keys.id, tenant_id AS tenantId, kind, pepper_id AS pepperId, scopes, models,
    ip_allowlist AS ipRanges, expires_at_ms AS expiresAtMs, coalesce(revoked_at_ms, archived_at_ms) AS revokedAtMs,
    requests_per_minute AS requestsPerMinute, tokens_per_minute AS tokensPerMinute,
    concurrent_requests_max AS concurrentRequestsMax, queued_jobs_max AS queuedJobsMax,
    queued_tokens_max AS queuedTokensMax, monthly_budget_nano AS monthlyBudgetNano, weight_milli AS weightMilli,
    tiers, default_tier AS defaultTier
  FROM api_keys LEFT JOIN tenants ON tenants.id = tenant_id`

export class KeyDatabase {
  readonly #database: D1Database

  constructor(database: D1Database) {
    this.#database = database
  }

  /** The row of whichever digest is there; null where none is. */
  async keyRow(digests: readonly KeyDigest[]): Promise<{ readonly row: unknown }> {
    const where = digests.map(() => '(digest = ? AND pepper_id = ?)').join(' OR ')
    const values = digests.flatMap(({ digest, pepperId }) => [digest, pepperId])
    return {
      row: await this.#database
        .prepare(`${query} WHERE ${where}`)
        .bind(...values)
        .first(),
    }
  }

  /** Written at most once a minute, whoever else writes. */
  async noteUse(keyId: string, nowMs: number): Promise<void> {
    await this.#database
      .prepare('UPDATE api_keys SET last_used_at_ms = ?1 WHERE id = ?2 AND coalesce(last_used_at_ms, 0) <= ?1 - ?3')
      .bind(nowMs, keyId, lastUsedEachMs)
      .run()
  }

  /** From the previous pepper to the current one. */
  async renewDigest(keyId: string, from: KeyDigest, to: KeyDigest): Promise<void> {
    await this.#database
      .prepare('UPDATE api_keys SET digest = ?1, pepper_id = ?2 WHERE id = ?3 AND digest = ?4')
      .bind(to.digest, to.pepperId, keyId, from.digest)
      .run()
  }
}

export function readKey(row: unknown): StoredKey {
  const { tenantId, ...key } = keyRow.parse(row)
  if (tenantId === null) return { ...key, tenant: null }
  const { tenantId: id, tiers, defaultTier, ...limits } = tenantRow.parse(row)
  return { ...key, tenant: { id, limits, tiers, defaultTier } }
}
