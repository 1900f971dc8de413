/** The audit log as it is read: newest first, by time, type, project, resource, actor. Nothing here writes. */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { listPage, pageParameters } from '../list-page.ts'
import { seconds } from './lookup.ts'
import { readQuery, textList, wholeNumber } from '../read-query.ts'

const listParameters = z.strictObject({
  ...pageParameters,
  before: z.string().optional(),
  'effective_at[gt]': wholeNumber.optional(),
  'effective_at[gte]': wholeNumber.optional(),
  'effective_at[lt]': wholeNumber.optional(),
  'effective_at[lte]': wholeNumber.optional(),
  event_types: textList.optional(),
  project_ids: textList.optional(),
  resource_ids: textList.optional(),
  actor_ids: textList.optional(),
})
type Filters = Omit<z.infer<typeof listParameters>, 'limit' | 'after' | 'before'>

/** What each filter demands; a list goes in as one JSON text. Times are whole seconds, as events tell theirs. */
const conditions: Readonly<Record<keyof Filters, string>> = {
  'effective_at[gt]': 'at_ms / 1000 > ?',
  'effective_at[gte]': 'at_ms / 1000 >= ?',
  'effective_at[lt]': 'at_ms / 1000 < ?',
  'effective_at[lte]': 'at_ms / 1000 <= ?',
  event_types: 'type IN (SELECT value FROM json_each(?))',
  project_ids: 'project_id IN (SELECT value FROM json_each(?))',
  resource_ids: 'resource_id IN (SELECT value FROM json_each(?))',
  actor_ids: 'actor_key_id IN (SELECT value FROM json_each(?))',
}

const eventRow = z.object({
  id: z.string(),
  atMs: z.number(),
  type: z.string(),
  actorKeyId: z.string().nullable(),
  actorAddress: z.string().nullable(),
  requestId: z.string(),
  projectId: z.string().nullable(),
  projectName: z.string().nullable(),
  details: z.string().transform((json): unknown => JSON.parse(json)),
})

export async function listAuditLogs(context: Context<AppEnv>): Promise<Response> {
  const { limit, after, before, ...filters } = readQuery(context.req.url, listParameters)
  const demanded = Object.entries(conditions).flatMap(([name, condition]) => {
    const value = filters[name as keyof Filters]
    return value === undefined ? [] : [{ condition, binding: Array.isArray(value) ? JSON.stringify(value) : value }]
  })
  const listing = {
    columns: `id, at_ms AS atMs, type, actor_key_id AS actorKeyId, actor_ip AS actorAddress, request_id AS requestId,
      project_id AS projectId, (SELECT name FROM tenants WHERE tenants.id = project_id) AS projectName, details`,
    from: 'audit_logs',
    where: ['true', ...demanded.map(({ condition }) => condition)].join(' AND '),
    bindings: demanded.map(({ binding }) => binding),
    // An id begins with its time.
    order: ['id'],
    isDescending: true,
    id: 'id',
  }
  return listPage(context.env.DB, listing, { limit, after, before }, eventObject)
}

function eventObject(stored: Record<string, unknown>) {
  const row = eventRow.parse(stored)
  return {
    id: row.id,
    object: 'organization.audit_log',
    type: row.type,
    effective_at: seconds(row.atMs),
    ...(row.projectId === null ? {} : { project: { id: row.projectId, name: row.projectName } }),
    actor: actorObject(row.actorKeyId, row.actorAddress),
    request_id: row.requestId,
    [row.type]: row.details,
  }
}

/** Without a key it was the bootstrap secret. */
function actorObject(keyId: string | null, address: string | null) {
  const who =
    keyId === null ? { type: 'bootstrap' } : { type: 'api_key', api_key: { id: keyId, type: 'service_account' } }
  return { ...who, ip_address: address }
}
