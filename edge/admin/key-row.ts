/**
 * API keys as the control plane sees them: rows in D1, the objects that clients see, and what a new one writes.
 *
 * A key's text exists once, in the answer that made it. It knows no route.
 */
import { z } from 'zod'
import type { KeyKind } from '../../contract/key-format.ts'
import { issueKey } from '../auth/issue-key.ts'
import { jsonTexts } from '../d1/answer.ts'
import type { Settings } from '../settings.ts'
import { missing, seconds } from './lookup.ts'
import type { ProjectRow } from './project-row.ts'

const keyRow = z.object({
  id: z.string(),
  name: z.string(),
  scopes: jsonTexts,
  models: jsonTexts.nullable(),
  ipRanges: jsonTexts.nullable(),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
  lastUsedAtMs: z.number().nullable(),
  replacesId: z.string().nullable(),
})
export type KeyRow = z.infer<typeof keyRow>

export const keyColumns = `id, name, scopes, models, ip_allowlist AS ipRanges, created_at_ms AS createdAtMs,
  expires_at_ms AS expiresAtMs, last_used_at_ms AS lastUsedAtMs, replaces_id AS replacesId`

export function parseKeyRow(row: Record<string, unknown>): KeyRow {
  return keyRow.parse(row)
}

/** @throws AppError not_found, also for a revoked key and one of another project. */
export async function findProjectKey(db: D1Database, projectId: string, id: string): Promise<KeyRow> {
  const row = await db
    .prepare(`SELECT ${keyColumns} FROM api_keys WHERE tenant_id = ? AND id = ? AND revoked_at_ms IS NULL`)
    .bind(projectId, id)
    .first()
  if (row === null) throw missing()
  return parseKeyRow(row)
}

export type NewKeyFacts = Pick<KeyRow, 'name' | 'scopes' | 'models' | 'ipRanges' | 'expiresAtMs' | 'replacesId'>

/**
 * A fresh key and the statement that stores its digest, which changes no row when the project is gone or archived.
 *
 * @param projectId null for an admin key.
 */
export function newKeyRow(
  db: D1Database,
  settings: Settings,
  projectId: string | null,
  facts: NewKeyFacts,
  nowMs: number,
): { readonly value: string; readonly row: KeyRow; readonly statement: D1PreparedStatement } {
  const kind: KeyKind = projectId === null ? 'admin' : 'live'
  const { id, value, digest, pepperId } = issueKey(kind, settings)
  const row = { ...facts, id, createdAtMs: nowMs, lastUsedAtMs: null }
  const { name, expiresAtMs, replacesId } = row
  const lists = [JSON.stringify(row.scopes), listText(row.models), listText(row.ipRanges)]
  const statement = db
    .prepare(
      `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, created_at_ms, expires_at_ms, replaces_id,
         scopes, models, ip_allowlist)
       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
       WHERE ?2 IS NULL OR EXISTS (SELECT 1 FROM tenants WHERE id = ?2 AND archived_at_ms IS NULL)`,
    )
    .bind(id, projectId, kind, name, digest, pepperId, nowMs, expiresAtMs, replacesId, ...lists)
  return { value, row, statement }
}

/** JSON as the columns hold lists; null = any. */
export function listText(list: readonly string[] | null): string | null {
  return list === null ? null : JSON.stringify(list)
}

export function projectKeyObject(row: KeyRow, project: ProjectRow) {
  return {
    id: row.id,
    object: 'organization.project.api_key' as const,
    name: row.name,
    redacted_value: redacted('live', row.id),
    created_at: seconds(row.createdAtMs),
    last_used_at: seconds(row.lastUsedAtMs),
    expires_at: seconds(row.expiresAtMs),
    owner: {
      type: 'service_account' as const,
      service_account: {
        id: `svc_${project.id}`,
        name: project.name,
        role: 'member',
        created_at: seconds(project.createdAtMs),
      },
    },
    owner_project_access: project.archivedAtMs === null ? ('active' as const) : ('inactive' as const),
    scopes: row.scopes,
    models: row.models,
    ip_allowlist: row.ipRanges,
    replaces: row.replacesId,
  }
}

export function redacted(kind: KeyKind, id: string): string {
  return `axle_${kind}_${id}_…`
}
