/**
 * A project's limits, as one rate limit for all models: `rl_<project>`. The key lookup carries them to admission, so a
 * change is in force within seconds.
 *
 * It counts nothing: `contract/lua/` does.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { changing } from './changing.ts'
import { someOf } from './fields.ts'
import { listResponse, pageParameters } from '../list-page.ts'
import { idFrom, missing } from './lookup.ts'
import { archived, findOpenProject, findProject, updateProject } from './project-row.ts'
import { readQuery } from '../read-query.ts'

/** Far above what a cell serves, far below where a double loses count. */
const limitMax = 1_000_000_000_000
const limitField = z.int().min(0).max(limitMax)
const limitFields = z.strictObject({
  max_requests_per_1_minute: limitField.optional(),
  max_tokens_per_1_minute: limitField.optional(),
  max_concurrent_requests: limitField.optional(),
  max_queued_requests: limitField.optional(),
  max_queued_tokens: limitField.optional(),
})
const listParameters = z.strictObject({ ...pageParameters, before: z.string().optional() })

const limitsRow = limitFields.required()
const limitColumns = `requests_per_minute AS max_requests_per_1_minute, tokens_per_minute AS max_tokens_per_1_minute,
  concurrent_requests_max AS max_concurrent_requests, queued_jobs_max AS max_queued_requests,
  queued_tokens_max AS max_queued_tokens`

export async function listRateLimits(context: Context<AppEnv>): Promise<Response> {
  const { after, before } = readQuery(context.req.url, listParameters)
  const { id } = await findProject(context.env.DB, idFrom(context, 'project'))
  const only = rateLimitObject(id, await findLimits(context.env.DB, id))
  // Beside the one item there is none.
  return listResponse(after === undefined && before === undefined ? [only] : [], false)
}

export const changeRateLimit = changing(someOf(limitFields), async (context, fields) => {
  const { DB: db } = context.env
  const { id } = await findOpenProject(db, idFrom(context, 'project'))
  if (idFrom(context, 'limit') !== limitId(id)) throw missing()
  const statement = updateProject(db, id, {
    requests_per_minute: fields.max_requests_per_1_minute,
    tokens_per_minute: fields.max_tokens_per_1_minute,
    concurrent_requests_max: fields.max_concurrent_requests,
    queued_jobs_max: fields.max_queued_requests,
    queued_tokens_max: fields.max_queued_tokens,
  })
  const event = {
    type: 'rate_limit.updated',
    projectId: id,
    resourceId: limitId(id),
    details: { changes_requested: fields },
  } as const
  const answer = rateLimitObject(id, { ...(await findLimits(db, id)), ...fields })
  return { effects: [{ statement, event }], answer, refusal: archived() }
})

async function findLimits(db: D1Database, projectId: string): Promise<z.infer<typeof limitsRow>> {
  const row = await db.prepare(`SELECT ${limitColumns} FROM tenants WHERE id = ?`).bind(projectId).first()
  if (row === null) throw missing()
  return limitsRow.parse(row)
}

function rateLimitObject(projectId: string, limits: z.infer<typeof limitFields>) {
  return { id: limitId(projectId), object: 'project.rate_limit', model: '*', ...limits }
}

function limitId(projectId: string): string {
  return `rl_${projectId}`
}
