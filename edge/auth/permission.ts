/**
 * May this key do that, from there, now? Pure: time and address are arguments.
 *
 * It knows neither how a key was found nor what a route does.
 */
import { AppError } from '../../contract/errors.ts'
import { isWithin } from '../client-address.ts'
import type { Caller } from './caller.ts'
import type { Access } from './scopes.ts'
import type { StoredKey } from './stored-key.ts'

/** @throws AppError 401 for a key that is over or from elsewhere, 403 for one without the scope. */
export function permit(key: StoredKey, access: Access, address: string | null, nowMs: number): Caller {
  if (key.revokedAtMs !== null && key.revokedAtMs <= nowMs) {
    throw new AppError('key_revoked', 'This API key was revoked. Use another key.')
  }
  if (key.expiresAtMs !== null && key.expiresAtMs <= nowMs) {
    throw new AppError('key_expired', 'This API key has expired. Use another key.')
  }
  if (key.ipRanges !== null && (address === null || !isWithin(address, key.ipRanges))) {
    throw new AppError('ip_not_authorized', "This API key may not be used from your address: see the key's allow-list.")
  }
  const caller = callerOf(key)
  if (!mayUse(caller, key.scopes, access)) {
    throw new AppError('insufficient_scope', `This API key does not have the scope '${scopeOf(access)}'.`)
  }
  return caller
}

function callerOf({ id, expiresAtMs, models, tenant }: StoredKey): Caller {
  if (tenant === null) return { kind: 'admin', keyId: id }
  const { id: tenantId, ...terms } = tenant
  return { kind: 'tenant', tenantId, keyId: id, expiresAtMs, models, ...terms }
}

/** An admin key runs no inference, and a tenant's key nothing of another's. */
function mayUse(caller: Caller, scopes: readonly string[], access: Access): boolean {
  if (caller.kind === 'admin') return access === 'admin' || access === 'usage-or-admin'
  return access !== 'admin' && scopes.includes(scopeOf(access))
}

function scopeOf(access: Access): string {
  return access === 'usage-or-admin' ? 'usage' : access
}
