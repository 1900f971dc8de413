/**
 * GET /v1/organization/usage/jobs: every ended job with its bill, oldest end first. What the sums are made of, for whoever
 * checks them.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { readQuery, textList } from '../read-query.ts'
import type { AppEnv } from '../app-env.ts'
import { modeName } from '../mode.ts'
import { csvResponse } from './csv.ts'
import { answerForm, limitWithin, orderedRange, timeRange, visibleProjects, wantsCsv } from './usage-query.ts'

const jobsMax = 1_000
const jobsUsual = 100

const query = z
  .strictObject({
    ...timeRange,
    ...answerForm,
    limit: limitWithin(jobsMax).default(jobsUsual),
    after: z.string().optional(),
    project_ids: textList.optional(),
  })
  .superRefine(orderedRange)

interface JobRow {
  readonly job_id: string
  readonly tenant_id: string
  readonly key_id: string
  readonly model: string
  readonly is_thinking: number
  readonly tier: string
  readonly status: string
  readonly input_tokens: number
  readonly cached_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly input_nano: number
  readonly cached_nano: number
  readonly output_nano: number
  readonly admitted_at_ms: number
  readonly ended_at_ms: number
}

export async function usageJobs(context: Context<AppEnv>): Promise<Response> {
  const asked = readQuery(context.req.url, query)
  const projectIds = visibleProjects(context, asked.project_ids)
  const conditions = ['ended_at_ms >= ?']
  const bound: (string | number)[] = [asked.start_time * 1_000]
  if (asked.end_time !== undefined) {
    conditions.push('ended_at_ms < ?')
    bound.push(asked.end_time * 1_000)
  }
  if (projectIds !== null) {
    conditions.push('tenant_id IN (SELECT value FROM json_each(?))')
    bound.push(JSON.stringify(projectIds))
  }
  if (asked.after !== undefined) {
    const endedAtMs = await endOf(context.env.DB, asked.after, projectIds)
    conditions.push('(ended_at_ms, job_id) > (?, ?)')
    bound.push(endedAtMs, asked.after)
  }
  const { results } = await context.env.DB.prepare(
    `SELECT * FROM usage_jobs WHERE ${conditions.join(' AND ')} ORDER BY ended_at_ms, job_id LIMIT ${asked.limit + 1}`,
  )
    .bind(...bound)
    .all<JobRow>()
  const data = results.slice(0, asked.limit).map(jobOf)
  const hasMore = results.length > asked.limit
  const lastId = data.at(-1)?.job_id ?? null
  if (wantsCsv(context, asked.format)) return csvResponse(csvColumns, data, hasMore ? lastId : null)
  return Response.json({ object: 'list', data, first_id: data[0]?.job_id ?? null, last_id: lastId, has_more: hasMore })
}

/** @throws AppError 400, the same for a job of another project as for one that never was. */
async function endOf(db: D1Database, jobId: string, projectIds: readonly string[] | null): Promise<number> {
  const row = await db
    .prepare('SELECT tenant_id, ended_at_ms FROM usage_jobs WHERE job_id = ?')
    .bind(jobId)
    .first<Pick<JobRow, 'tenant_id' | 'ended_at_ms'>>()
  if (row !== null && (projectIds === null || projectIds.includes(row.tenant_id))) return row.ended_at_ms
  throw new AppError('invalid_value', "Invalid value for 'after': expected the last_id of the answer before.", {
    param: 'after',
  })
}

const csvColumns = [
  ...(['job_id', 'project_id', 'api_key_id', 'model', 'mode', 'service_tier', 'status'] as const),
  ...(['input_tokens', 'input_cached_tokens', 'output_tokens', 'output_reasoning_tokens'] as const),
  ...(['input_nano', 'cached_input_nano', 'output_nano', 'cost_nano', 'admitted_at_ms', 'ended_at_ms'] as const),
] as const

function jobOf(row: JobRow) {
  return {
    object: 'organization.usage.job' as const,
    job_id: row.job_id,
    project_id: row.tenant_id,
    api_key_id: row.key_id,
    model: row.model,
    mode: modeName(row.is_thinking === 1),
    service_tier: row.tier,
    status: row.status,
    input_tokens: row.input_tokens,
    input_cached_tokens: row.cached_tokens,
    output_tokens: row.output_tokens,
    output_reasoning_tokens: row.reasoning_tokens,
    input_nano: row.input_nano,
    cached_input_nano: row.cached_nano,
    output_nano: row.output_nano,
    cost_nano: row.input_nano + row.cached_nano + row.output_nano,
    admitted_at_ms: row.admitted_at_ms,
    ended_at_ms: row.ended_at_ms,
  }
}
