/**
 * Rotation: a new key in place of an old one, which goes on for a while. Both count against the project's one quota.
 *
 * It knows neither how keys are checked nor how quotas are counted.
 */
import { z } from 'zod'
import { tellBroker } from '../broker/client.ts'
import { readSettings } from '../env.ts'
import { changing, type Effect } from './changing.ts'
import { endOf } from './fields.ts'
import { findProjectKey, newKeyRow, projectKeyObject, type KeyRow } from './key-row.ts'
import { idFrom, missing } from './lookup.ts'
import { revocation } from './project-keys.ts'
import { findOpenProject } from './project-row.ts'

const overlapSecondsUsual = 86_400
const overlapSecondsMax = 7 * overlapSecondsUsual
const rotateFields = z.strictObject({
  overlap_seconds: z.int().min(0).max(overlapSecondsMax).default(overlapSecondsUsual),
})

export const rotateProjectKey = changing(rotateFields, async (context, { overlap_seconds: overlap }, nowMs) => {
  const { env } = context
  const project = await findOpenProject(env.DB, idFrom(context, 'project'))
  const old = await findProjectKey(env.DB, project.id, idFrom(context, 'key'))
  // Without overlap the old key is meant to be dead at once, as one that leaked: that is a revocation.
  if (overlap === 0) await tellBroker(env, { kind: 'revoke', ids: [old.id] })
  const end = overlap === 0 ? revoke(env.DB, project.id, old, nowMs) : expire(env.DB, project.id, old, overlap, nowMs)
  const { name, scopes, models, ipRanges } = old
  const expiresAtMs = lifetimeAgain((await firstSuccessor(env.DB, old.id)) ?? old, nowMs)
  const facts = { name, scopes, models, ipRanges, expiresAtMs, replacesId: old.id }
  const { value, row, statement } = newKeyRow(env.DB, readSettings(env), project.id, facts, nowMs)
  const event = {
    type: 'api_key.created',
    projectId: project.id,
    resourceId: row.id,
    details: { data: { name, scopes, models, ip_allowlist: ipRanges, replaces: old.id } },
  } as const
  return {
    effects: [end, { statement, event }],
    answer: { ...projectKeyObject(row, project), value },
    refusal: missing(),
  }
})

function revoke(db: D1Database, projectId: string, old: KeyRow, nowMs: number): Effect {
  const event = { type: 'api_key.deleted', projectId, resourceId: old.id } as const
  return { statement: revocation(db, old.id, nowMs), event }
}

/** A key that ends sooner anyway keeps its end. */
function expire(db: D1Database, projectId: string, old: KeyRow, overlapSeconds: number, nowMs: number): Effect {
  const endMs = endOf(overlapSeconds, nowMs)
  const statement = db
    .prepare(
      `UPDATE api_keys SET expires_at_ms = min(coalesce(expires_at_ms, ?1), ?1) WHERE id = ?2 AND revoked_at_ms IS NULL`,
    )
    .bind(endMs, old.id)
  const details = { changes_requested: { expires_in_seconds: overlapSeconds } }
  return { statement, event: { type: 'api_key.updated', projectId, resourceId: old.id, details } }
}

/** The new key lives as long as the old one was made for. */
function lifetimeAgain({ createdAtMs, expiresAtMs }: Lifetime, nowMs: number): number | null {
  return expiresAtMs === null ? null : nowMs + (expiresAtMs - createdAtMs)
}

const lifetimeRow = z.object({ createdAtMs: z.number(), expiresAtMs: z.number().nullable() })
type Lifetime = z.infer<typeof lifetimeRow>

/** A key that was replaced before ends with that overlap; what it was made for, the key in its place knows. */
async function firstSuccessor(db: D1Database, id: string): Promise<Lifetime | null> {
  const row = await db
    .prepare(
      `SELECT created_at_ms AS createdAtMs, expires_at_ms AS expiresAtMs FROM api_keys WHERE replaces_id = ?
       ORDER BY created_at_ms, id LIMIT 1`,
    )
    .bind(id)
    .first()
  return row === null ? null : lifetimeRow.parse(row)
}
