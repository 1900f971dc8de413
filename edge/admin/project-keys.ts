/**
 * API keys of a project: made, listed, changed, revoked. Rotation has its own file; the key's text is in one answer
 * only.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { tellBroker } from '../broker/client.ts'
import { readSettings } from '../env.ts'
import { assignments } from './assignments.ts'
import { changing } from './changing.ts'
import { endOf, lifetimeField, modelsField, nameField, noFields, rangesField, scopesField, someOf } from './fields.ts'
import { findProjectKey, newKeyRow, keyColumns, listText, parseKeyRow, projectKeyObject } from './key-row.ts'
import { listPage, pageParameters } from '../list-page.ts'
import { idFrom, missing } from './lookup.ts'
import { archived, findOpenProject, findProject } from './project-row.ts'
import { readQuery } from '../read-query.ts'

const createFields = z.strictObject({
  name: nameField,
  scopes: scopesField.default(['inference']),
  /** Null, here and below: no end, any. */
  expires_in_seconds: lifetimeField.nullable().default(null),
  models: modelsField.nullable().default(null),
  ip_allowlist: rangesField.nullable().default(null),
})
const updateFields = someOf(
  z.strictObject({
    name: nameField.optional(),
    scopes: scopesField.optional(),
    expires_in_seconds: lifetimeField.nullable().optional(),
    models: modelsField.nullable().optional(),
    ip_allowlist: rangesField.nullable().optional(),
  }),
)
/** Whether a key's project is active is a matter of the project here: the filter takes nothing away. */
const listParameters = z.strictObject({
  ...pageParameters,
  owner_project_access: z.enum(['active', 'inactive', 'any']).optional(),
})

export const createProjectKey = changing(createFields, async (context, fields, nowMs) => {
  const { env } = context
  const project = await findOpenProject(env.DB, idFrom(context, 'project'))
  const facts = {
    name: fields.name,
    scopes: fields.scopes,
    models: fields.models,
    ipRanges: fields.ip_allowlist,
    expiresAtMs: endOf(fields.expires_in_seconds, nowMs),
    replacesId: null,
  }
  const { value, row, statement } = newKeyRow(env.DB, readSettings(env), project.id, facts, nowMs)
  const event = {
    type: 'api_key.created',
    projectId: project.id,
    resourceId: row.id,
    details: { data: fields },
  } as const
  return {
    effects: [{ statement, event }],
    answer: { ...projectKeyObject(row, project), value },
    refusal: archived(),
  }
})

export async function listProjectKeys(context: Context<AppEnv>): Promise<Response> {
  const query = readQuery(context.req.url, listParameters)
  const project = await findProject(context.env.DB, idFrom(context, 'project'))
  const listing = {
    columns: keyColumns,
    from: 'api_keys',
    where: 'tenant_id = ? AND revoked_at_ms IS NULL',
    bindings: [project.id],
    order: ['created_at_ms', 'id'],
    id: 'id',
  }
  return listPage(context.env.DB, listing, query, (row) => projectKeyObject(parseKeyRow(row), project))
}

export async function retrieveProjectKey(context: Context<AppEnv>): Promise<Response> {
  const project = await findProject(context.env.DB, idFrom(context, 'project'))
  const key = await findProjectKey(context.env.DB, project.id, idFrom(context, 'key'))
  return Response.json(projectKeyObject(key, project))
}

export const changeProjectKey = changing(updateFields, async (context, fields, nowMs) => {
  const { DB: db } = context.env
  const project = await findOpenProject(db, idFrom(context, 'project'))
  const key = await findProjectKey(db, project.id, idFrom(context, 'key'))
  const { expires_in_seconds: lifetime, ip_allowlist: ranges } = fields
  const row = {
    ...key,
    name: fields.name ?? key.name,
    scopes: fields.scopes ?? key.scopes,
    models: fields.models === undefined ? key.models : fields.models,
    ipRanges: ranges === undefined ? key.ipRanges : ranges,
    expiresAtMs: lifetime === undefined ? key.expiresAtMs : endOf(lifetime, nowMs),
  }
  const { sql, bindings } = assignments({
    name: fields.name,
    scopes: fields.scopes && listText(fields.scopes),
    models: fields.models && listText(fields.models),
    ip_allowlist: ranges && listText(ranges),
    expires_at_ms: lifetime === undefined ? undefined : row.expiresAtMs,
  })
  const statement = db
    .prepare(`UPDATE api_keys SET ${sql} WHERE id = ? AND revoked_at_ms IS NULL`)
    .bind(...bindings, key.id)
  const event = {
    type: 'api_key.updated',
    projectId: project.id,
    resourceId: key.id,
    details: { changes_requested: fields },
  } as const
  return { effects: [{ statement, event }], answer: projectKeyObject(row, project), refusal: missing() }
})

/** Redis first, then D1: a revocation that was answered holds, whatever fails next. */
export const revokeProjectKey = changing(noFields, async (context, _fields, nowMs) => {
  const { DB: db } = context.env
  const project = await findProject(db, idFrom(context, 'project'))
  const key = await findProjectKey(db, project.id, idFrom(context, 'key'))
  await tellBroker(context.env, { kind: 'revoke', ids: [key.id] })
  const statement = revocation(db, key.id, nowMs)
  const event = { type: 'api_key.deleted', projectId: project.id, resourceId: key.id } as const
  return {
    effects: [{ statement, event }],
    answer: { id: key.id, object: 'organization.project.api_key.deleted', deleted: true },
    refusal: missing(),
  }
})

export function revocation(db: D1Database, keyId: string, nowMs: number): D1PreparedStatement {
  return db.prepare('UPDATE api_keys SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL').bind(nowMs, keyId)
}
