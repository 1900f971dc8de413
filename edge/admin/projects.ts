/** Projects: created, listed, changed, archived. A project is a tenant; its limits and keys have their own files. */
import { ulid } from 'ulid'
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import type { Context } from 'hono'
import type { AppEnv } from '../app-env.ts'
import { tellBroker } from '../broker/client.ts'
import { changing } from './changing.ts'
import { nameField, noFields, someOf } from './fields.ts'
import { listPage, pageParameters } from '../list-page.ts'
import { idFrom } from './lookup.ts'
import {
  archived,
  findOpenProject,
  findProject,
  parseProject,
  projectColumns,
  projectObject,
  updateProject,
  weightMilliOf,
  type ProjectRow,
} from './project-row.ts'
import { readQuery, trueOrFalse } from '../read-query.ts'

/** Which `service_tier` a request may name; batch has its own API. */
const requestTiers = ['priority', 'default', 'flex'] as const
const weightMin = 0.001
const weightMax = 1_000
const settings = {
  weight: z
    .number()
    .min(weightMin)
    .max(weightMax)
    .refine((weight) => Math.abs(weightMilliOf(weight) / 1_000 - weight) < Number.EPSILON * weight, {
      message: 'expected at most three decimals',
    })
    .optional(),
  tiers: z
    .array(z.enum(requestTiers))
    .min(1)
    .transform((tiers) => requestTiers.filter((tier) => tiers.includes(tier)))
    .optional(),
  default_tier: z.enum(requestTiers).optional(),
}
/** As the table's own defaults. */
const usual: Pick<ProjectRow, 'weightMilli' | 'tiers' | 'defaultTier'> = {
  weightMilli: 1_000,
  tiers: ['default', 'flex'],
  defaultTier: 'default',
}
const createFields = z.strictObject({ name: nameField, ...settings })
const updateFields = someOf(z.strictObject({ name: nameField.optional(), ...settings }))
const listParameters = z.strictObject({ ...pageParameters, include_archived: trueOrFalse.default(false) })

type Settings = Omit<z.infer<typeof createFields>, 'name'> & { readonly name?: string | undefined }

export const createProject = changing(createFields, async ({ env }, fields, nowMs) => {
  const id = `proj_${ulid(nowMs)}`
  const row = merge({ id, name: '', createdAtMs: nowMs, archivedAtMs: null, ...usual }, fields)
  const statement = env.DB.prepare(
    `INSERT INTO tenants (id, name, created_at_ms, weight_milli, tiers, default_tier) VALUES (?, ?, ?, ?, ?, ?)`,
  ).bind(id, row.name, nowMs, row.weightMilli, JSON.stringify(row.tiers), row.defaultTier)
  const { name, ...rest } = fields
  const event = {
    type: 'project.created',
    projectId: id,
    resourceId: id,
    details: { data: { name, title: name, ...rest } },
  } as const
  return { effects: [{ statement, event }], answer: projectObject(row), refusal: archived() }
})

export async function listProjects(context: Context<AppEnv>): Promise<Response> {
  const { include_archived: isWhole, ...query } = readQuery(context.req.url, listParameters)
  const listing = {
    columns: projectColumns,
    from: 'tenants',
    where: isWhole ? 'true' : 'archived_at_ms IS NULL',
    bindings: [],
    order: ['created_at_ms', 'id'],
    id: 'id',
  }
  return listPage(context.env.DB, listing, query, (row) => projectObject(parseProject(row)))
}

export async function retrieveProject(context: Context<AppEnv>): Promise<Response> {
  return Response.json(projectObject(await findProject(context.env.DB, idFrom(context, 'project'))))
}

export const changeProject = changing(updateFields, async (context, fields) => {
  const before = await findOpenProject(context.env.DB, idFrom(context, 'project'))
  const row = merge(before, fields)
  const statement = updateProject(context.env.DB, row.id, {
    name: fields.name,
    weight_milli: fields.weight === undefined ? undefined : row.weightMilli,
    tiers: fields.tiers === undefined ? undefined : JSON.stringify(row.tiers),
    default_tier: fields.default_tier,
  })
  const { name, ...rest } = fields
  const changes = { ...(name === undefined ? {} : { title: name }), ...rest }
  const event = {
    type: 'project.updated',
    projectId: row.id,
    resourceId: row.id,
    details: { changes_requested: changes },
  } as const
  return { effects: [{ statement, event }], answer: projectObject(row), refusal: archived() }
})

/**
 * Redis first: from then on nothing of the project is admitted or claimed, whatever an isolate remembers of its keys.
 */
export const archiveProject = changing(noFields, async (context, _fields, nowMs) => {
  const project = await findOpenProject(context.env.DB, idFrom(context, 'project'))
  await tellBroker(context.env, { kind: 'revoke', ids: [project.id] })
  const statement = updateProject(context.env.DB, project.id, { archived_at_ms: nowMs })
  const event = { type: 'project.archived', projectId: project.id, resourceId: project.id } as const
  return {
    effects: [{ statement, event }],
    answer: projectObject({ ...project, archivedAtMs: nowMs }),
    refusal: archived(),
  }
})

/** @throws AppError contradictory_parameters. */
function merge(row: ProjectRow, fields: Settings): ProjectRow {
  const merged = {
    ...row,
    name: fields.name ?? row.name,
    weightMilli: fields.weight === undefined ? row.weightMilli : weightMilliOf(fields.weight),
    tiers: fields.tiers ?? row.tiers,
    defaultTier: fields.default_tier ?? row.defaultTier,
  }
  if (!merged.tiers.includes(merged.defaultTier)) {
    throw new AppError('contradictory_parameters', "'default_tier' must be one of 'tiers'.", { param: 'default_tier' })
  }
  return merged
}
