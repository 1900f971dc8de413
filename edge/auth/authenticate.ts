/**
 * From an Authorization header to a caller, or to the one error its sender may know.
 *
 * Malformed, unknown and foreign keys are the same 401; shape and checksum are verified without I/O. The key itself goes
 * no further than this file.
 */
import { AppError } from '../../contract/errors.ts'
import { parseKey } from '../../contract/key-format.ts'
import { readSettings, type Env } from '../env.ts'
import type { Caller } from './caller.ts'
import { keyDigest } from './digest.ts'
import type { Access } from './scopes.ts'
import { findKey, type StoredKey } from './store.ts'

/** Longer than any key of ours: what is longer is refused unread. */
const headerCharsMax = 256

/** @throws AppError 400, 401, 403 or 503. */
export async function authenticate(header: string | null, env: Env, access: Access, nowMs: number): Promise<Caller> {
  const key = bearer(header)
  const parsed = parseKey(key)
  if (parsed === null) throw invalidKey()
  const { pepper, pepperId } = readSettings(env)
  const stored = await findKey(env.DB, keyDigest(key, pepper), pepperId, nowMs)
  if (stored === null || stored.id !== parsed.id || stored.kind !== parsed.kind) throw invalidKey()
  if (stored.revokedAtMs !== null && stored.revokedAtMs <= nowMs) {
    throw new AppError('key_revoked', 'This API key was revoked. Use another key.')
  }
  if (stored.expiresAtMs !== null && stored.expiresAtMs <= nowMs) {
    throw new AppError('key_expired', 'This API key has expired. Use another key.')
  }
  const caller = callerOf(stored)
  if (!mayUse(caller, stored.scopes, access)) {
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

function bearer(header: string | null): string {
  if (header === null || header.trim() === '') {
    throw new AppError('missing_api_key', 'No API key. Send it as: Authorization: Bearer axle_live_…')
  }
  // Several headers arrive joined by a comma; which of two keys is meant is not ours to guess.
  if (header.includes(',')) {
    throw new AppError('invalid_value', 'More than one Authorization header. Send exactly one.', {
      param: 'authorization',
    })
  }
  const match = header.length <= headerCharsMax ? /^Bearer +(\S+)$/i.exec(header.trim()) : null
  const key = match?.[1]
  if (key === undefined) throw invalidKey()
  return key
}

function invalidKey(): AppError {
  return new AppError('invalid_api_key', 'Incorrect API key. Send a valid one as: Authorization: Bearer axle_live_…')
}
