/**
 * A project, which is a tenant: its row in D1 and the object that clients see. It knows no route.
 */
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { serviceTiers } from '../../contract/quota.ts'
import { jsonTexts } from '../d1/answer.ts'
import { assignments } from './assignments.ts'
import { missing, seconds } from './lookup.ts'

const perMille = 1_000

const projectRow = z.object({
  id: z.string(),
  name: z.string(),
  createdAtMs: z.number(),
  archivedAtMs: z.number().nullable(),
  weightMilli: z.number(),
  tiers: jsonTexts.pipe(z.array(z.enum(serviceTiers))),
  defaultTier: z.enum(serviceTiers),
})
export type ProjectRow = z.infer<typeof projectRow>

export const projectColumns = `id, name, created_at_ms AS createdAtMs, archived_at_ms AS archivedAtMs,
  weight_milli AS weightMilli, tiers, default_tier AS defaultTier`

export function parseProject(row: Record<string, unknown>): ProjectRow {
  return projectRow.parse(row)
}

/** @throws AppError not_found. */
export async function findProject(db: D1Database, id: string): Promise<ProjectRow> {
  const row = await db.prepare(`SELECT ${projectColumns} FROM tenants WHERE id = ?`).bind(id).first()
  if (row === null) throw missing()
  return parseProject(row)
}

/** @throws AppError not_found, project_archived. */
export async function findOpenProject(db: D1Database, id: string): Promise<ProjectRow> {
  const project = await findProject(db, id)
  if (project.archivedAtMs !== null) throw archived()
  return project
}

/** Sets columns of a project that is not archived. */
export function updateProject(
  db: D1Database,
  id: string,
  columns: Readonly<Record<string, string | number | null | undefined>>,
): D1PreparedStatement {
  const { sql, bindings } = assignments(columns)
  return db.prepare(`UPDATE tenants SET ${sql} WHERE id = ? AND archived_at_ms IS NULL`).bind(...bindings, id)
}

export function archived(): AppError {
  return new AppError('project_archived', 'This project is archived, which is final. Create another one.')
}

export function projectObject(row: ProjectRow) {
  return {
    id: row.id,
    object: 'organization.project' as const,
    name: row.name,
    created_at: seconds(row.createdAtMs),
    archived_at: seconds(row.archivedAtMs),
    status: row.archivedAtMs === null ? ('active' as const) : ('archived' as const),
    weight: row.weightMilli / perMille,
    tiers: row.tiers,
    default_tier: row.defaultTier,
  }
}

export function weightMilliOf(weight: number): number {
  return Math.round(weight * perMille)
}
