/**
 * POST /v1/organization/bootstrap: the deployment's secret makes the first admin key, once.
 *
 * Who does not have the secret cannot tell this route from one that does not exist. Knows no other way to an admin key.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { ulid } from 'ulid'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import { issueKey } from '../auth/issue-key.ts'
import { clientAddress } from '../client-address.ts'
import { readSettings } from '../env.ts'
import { notFound } from '../middleware/errors.ts'

export const bootstrapPath = '/v1/organization/bootstrap'
const keyName = 'bootstrap'

export async function bootstrap(context: Context<AppEnv>): Promise<Response> {
  const settings = readSettings(context.env)
  if (!isSecret(context.req.header('authorization') ?? '', settings.bootstrapSecret)) notFound()
  const nowMs = Date.now()
  const db = context.env.DB
  const key = issueKey('admin', settings)
  try {
    await db.batch([
      db.prepare('INSERT INTO bootstrap (id, admin_key_id, used_at_ms) VALUES (1, ?, ?)').bind(key.id, nowMs),
      db
        .prepare(
          `INSERT INTO api_keys (id, kind, name, digest, pepper_id, scopes, created_at_ms)
           VALUES (?, 'admin', ?, ?, ?, '["admin"]', ?)`,
        )
        .bind(key.id, keyName, key.digest, key.pepperId, nowMs),
      db
        .prepare(
          `INSERT INTO audit_logs (id, at_ms, type, actor_key_id, actor_ip, request_id, resource_id, details)
           VALUES (?, ?, 'organization.admin_api_key.created', NULL, ?, ?, ?, ?)`,
        )
        .bind(
          `audit_${ulid(nowMs)}`,
          nowMs,
          clientAddress(context.req.raw, settings.environment),
          context.get('requestId'),
          key.id,
          JSON.stringify({ id: key.id, data: { name: keyName } }),
        ),
    ])
  } catch (error) {
    if (!isUsed(error)) throw error
    throw new AppError('already_exists', 'The bootstrap secret was used. Make further admin keys with an admin key.')
  }
  return Response.json({
    id: key.id,
    object: 'organization.admin_api_key',
    name: keyName,
    redacted_value: `axle_admin_${key.id}_…`,
    value: key.value,
    created_at: Math.floor(nowMs / 1000),
    expires_at: null,
    last_used_at: null,
    owner: { type: 'user', object: 'organization.user', name: 'admin', role: 'owner' },
  })
}

/** Compared by digests, in a time that tells nothing. */
function isSecret(header: string, secret: string | null): boolean {
  return secret !== null && timingSafeEqual(sha256(header), sha256(`Bearer ${secret}`))
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}

/** The table takes one row: of two that race, one fails with its whole batch. */
function isUsed(error: unknown): boolean {
  return error instanceof Error && error.message.includes('UNIQUE constraint failed: bootstrap.')
}
