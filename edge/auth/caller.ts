/**
 * Who calls. Knows neither keys as text nor where they are stored.
 */
import assert from 'node:assert/strict'
import type { Context } from 'hono'
import type { ServiceTier, TenantLimits } from '../../contract/quota.ts'
import type { AppEnv } from '../app-env.ts'

/** Whoever holds a valid key. */
export type Caller =
  | {
      readonly kind: 'tenant'
      readonly tenantId: string
      readonly keyId: string
      readonly expiresAtMs: number | null
      /** Ids or aliases the key may name; null = any. */
      readonly models: readonly string[] | null
      readonly limits: TenantLimits
      readonly tiers: readonly ServiceTier[]
      readonly defaultTier: ServiceTier
    }
  | { readonly kind: 'admin'; readonly keyId: string }

/** The caller of a route that the table opens to tenants alone. */
export function tenantOf(context: Context<AppEnv>): Extract<Caller, { kind: 'tenant' }> {
  const caller = context.get('caller')
  assert(caller?.kind === 'tenant', 'a route of tenants is guarded by a scope of theirs')
  return caller
}
