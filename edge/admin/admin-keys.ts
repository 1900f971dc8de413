/**
 * Admin keys of the deployment: made, listed, revoked. The first one comes from the bootstrap secret, not from here.
 *
 * Nobody can lock all operators out: a key cannot revoke itself, and only a valid one revokes another.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import { tellBroker } from '../broker/client.ts'
import { readSettings } from '../env.ts'
import { changing } from './changing.ts'
import { endOf, lifetimeField, nameField, noFields } from './fields.ts'
import { newKeyRow, keyColumns, parseKeyRow, redacted, type KeyRow } from './key-row.ts'
import { listPage, pageParameters } from '../list-page.ts'
import { idFrom, missing, seconds } from './lookup.ts'
import { readQuery } from '../read-query.ts'

const createFields = z.strictObject({ name: nameField, expires_in_seconds: lifetimeField.nullable().default(null) })
const listParameters = z.strictObject({ ...pageParameters, order: z.enum(['asc', 'desc']).default('asc') })
const valid = `kind = 'admin' AND revoked_at_ms IS NULL`

/** An admin key may do all that admin keys may. */
export const adminFacts = { scopes: ['admin'], models: null, ipRanges: null, expiresAtMs: null, replacesId: null }

export const createAdminKey = changing(createFields, async ({ env }, fields, nowMs) => {
  const facts = { ...adminFacts, name: fields.name, expiresAtMs: endOf(fields.expires_in_seconds, nowMs) }
  const { value, row, statement } = newKeyRow(env.DB, readSettings(env), null, facts, nowMs)
  const event = {
    type: 'organization.admin_api_key.created',
    projectId: null,
    resourceId: row.id,
    details: { data: fields },
  } as const
  return { effects: [{ statement, event }], answer: { ...adminKeyObject(row), value }, refusal: missing() }
})

export async function listAdminKeys(context: Context<AppEnv>): Promise<Response> {
  const { order, ...query } = readQuery(context.req.url, listParameters)
  const listing = {
    columns: keyColumns,
    from: 'api_keys',
    where: valid,
    bindings: [],
    order: ['created_at_ms', 'id'],
    isDescending: order === 'desc',
    id: 'id',
  }
  return listPage(context.env.DB, listing, query, (row) => adminKeyObject(parseKeyRow(row)))
}

export async function retrieveAdminKey(context: Context<AppEnv>): Promise<Response> {
  return Response.json(adminKeyObject(await findAdminKey(context.env.DB, idFrom(context, 'key'))))
}

export const revokeAdminKey = changing(noFields, async (context, _fields, nowMs) => {
  const { DB: db } = context.env
  const { id } = await findAdminKey(db, idFrom(context, 'key'))
  const callerId = context.get('caller').keyId
  const refusal = new AppError('key_in_use', 'This key makes the request. Delete it with another admin key.')
  if (id === callerId) throw refusal
  await tellBroker(context.env, { kind: 'revoke', ids: [id] })
  // Of two keys that revoke each other at the same time one is left.
  const statement = db
    .prepare(
      `UPDATE api_keys SET revoked_at_ms = ? WHERE id = ? AND ${valid}
         AND EXISTS (SELECT 1 FROM api_keys WHERE id = ? AND ${valid})`,
    )
    .bind(nowMs, id, callerId)
  const event = { type: 'organization.admin_api_key.deleted', projectId: null, resourceId: id } as const
  const answer = { id, object: 'organization.admin_api_key.deleted', deleted: true }
  return { effects: [{ statement, event }], answer, refusal: missing() }
})

async function findAdminKey(db: D1Database, id: string): Promise<KeyRow> {
  const row = await db.prepare(`SELECT ${keyColumns} FROM api_keys WHERE id = ? AND ${valid}`).bind(id).first()
  if (row === null) throw missing()
  return parseKeyRow(row)
}

export function adminKeyObject(row: KeyRow) {
  return {
    id: row.id,
    object: 'organization.admin_api_key' as const,
    name: row.name,
    redacted_value: redacted('admin', row.id),
    created_at: seconds(row.createdAtMs),
    expires_at: seconds(row.expiresAtMs),
    last_used_at: seconds(row.lastUsedAtMs),
    owner: { type: 'user', object: 'organization.user', name: 'admin', role: 'owner' },
  }
}
