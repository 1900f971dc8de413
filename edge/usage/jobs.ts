/**
 * GET /v1/organization/usage/jobs: every ended job with its bill, oldest end first. What the sums are made of, for
 * whoever checks them.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { readQuery, textList } from '../read-query.ts'
import type { AppEnv } from '../app-env.ts'
import { readPage } from '../list-page.ts'
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

const jobRow = z.object({
  job_id: z.string(),
  tenant_id: z.string(),
  key_id: z.string(),
  model: z.string(),
  is_thinking: z.number(),
  tier: z.string(),
  status: z.string(),
  input_tokens: z.number(),
  cached_tokens: z.number(),
  output_tokens: z.number(),
  reasoning_tokens: z.number(),
  input_nano: z.number(),
  cached_nano: z.number(),
  output_nano: z.number(),
  admitted_at_ms: z.number(),
  ended_at_ms: z.number(),
})

export async function usageJobs(context: Context<AppEnv>): Promise<Response> {
  const asked = readQuery(context.req.url, query)
  const projectIds = visibleProjects(context, asked.project_ids)
  const conditions = ['ended_at_ms >= ?']
  const bindings: (string | number)[] = [asked.start_time * 1_000]
  if (asked.end_time !== undefined) {
    conditions.push('ended_at_ms < ?')
    bindings.push(asked.end_time * 1_000)
  }
  if (projectIds !== null) {
    conditions.push('tenant_id IN (SELECT value FROM json_each(?))')
    bindings.push(JSON.stringify(projectIds))
  }
  const listing = {
    columns: '*',
    from: 'usage_jobs',
    where: conditions.join(' AND '),
    bindings,
    order: ['ended_at_ms', 'job_id'],
    id: 'job_id',
  }
  const { rows, hasMore } = await readPage(context.env.DB, listing, asked)
  const data = rows.map((row) => jobOf(jobRow.parse(row)))
  const lastId = data.at(-1)?.job_id ?? null
  if (wantsCsv(context, asked.format)) return csvResponse(csvColumns, data, hasMore ? lastId : null)
  return Response.json({ object: 'list', data, first_id: data[0]?.job_id ?? null, last_id: lastId, has_more: hasMore })
}

const csvColumns = [
  ...(['job_id', 'project_id', 'api_key_id', 'model', 'mode', 'service_tier', 'status'] as const),
  ...(['input_tokens', 'input_cached_tokens', 'output_tokens', 'output_reasoning_tokens'] as const),
  ...(['input_nano', 'cached_input_nano', 'output_nano', 'cost_nano', 'admitted_at_ms', 'ended_at_ms'] as const),
] as const

function jobOf(row: z.infer<typeof jobRow>) {
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
