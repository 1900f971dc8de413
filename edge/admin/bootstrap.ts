/**
 * POST /v1/organization/bootstrap: the deployment's secret makes the first admin key, once.
 *
 * Who does not have the secret cannot tell this route from one that does not exist. Knows no other way to an admin key.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import { clientAddress } from '../client-address.ts'
import { readSettings } from '../env.ts'
import { notFound } from '../middleware/errors.ts'
import { adminFacts, adminKeyObject } from './admin-keys.ts'
import { auditRow } from './audit.ts'
import { newKeyRow } from './key-row.ts'

export const bootstrapPath = '/v1/organization/bootstrap'
const keyName = 'bootstrap'

export async function bootstrap(context: Context<AppEnv>): Promise<Response> {
  const settings = readSettings(context.env)
  if (!isSecret(context.req.header('authorization') ?? '', settings.bootstrapSecret)) notFound()
  const nowMs = Date.now()
  const db = context.env.DB
  const { value, row, statement } = newKeyRow(db, settings, null, { ...adminFacts, name: keyName }, nowMs)
  const actor = {
    keyId: null,
    address: clientAddress(context.req.raw, settings.environment),
    requestId: context.get('requestId'),
  }
  const event = {
    type: 'organization.admin_api_key.created',
    projectId: null,
    resourceId: row.id,
    details: { data: { name: keyName } },
  } as const
  try {
    await db.batch([
      db.prepare('INSERT INTO bootstrap (id, admin_key_id, used_at_ms) VALUES (1, ?, ?)').bind(row.id, nowMs),
      statement,
      auditRow(db, event, actor, nowMs),
    ])
  } catch (error) {
    if (!isUsed(error)) throw error
    throw new AppError('already_exists', 'The bootstrap secret was used. Make further admin keys with an admin key.')
  }
  return Response.json({ ...adminKeyObject(row), value })
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
