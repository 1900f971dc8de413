/** GET /v1/organization/usage/completions: tokens and requests by time, in OpenAI's shape. */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { bucketPage, bucketWidths, pageOf, type BucketWidth } from './buckets.ts'
import { csvResponse } from './csv.ts'
import { byBucket, sumMinutes, type UsageSum } from './minute-sums.ts'
import {
  answerForm,
  limitWithin,
  orderedRange,
  readQuery,
  timeRange,
  values,
  visibleProjects,
  wantsCsv,
} from './usage-query.ts'

/** Buckets on a page: unless the client says, and at most. */
const bucketCounts: Readonly<Record<BucketWidth, readonly [usual: number, most: number]>> = {
  '1m': [60, 1_440],
  '1h': [24, 168],
  '1d': [7, 31],
}
const groupNames = z.array(z.literal(['project_id', 'api_key_id', 'model', 'batch', 'service_tier', 'mode']))

const query = z
  .strictObject({
    ...timeRange,
    ...answerForm,
    bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
    limit: z.string().optional(),
    page: z.string().optional(),
    group_by: groupNames.default([]),
    project_ids: values.optional(),
    api_key_ids: values.optional(),
    models: values.optional(),
    batch: z.enum(['true', 'false']).optional(),
  })
  .superRefine(orderedRange)
  .transform(({ limit, ...rest }, context) => {
    const [usual, most] = bucketCounts[rest.bucket_width]
    const count = limitWithin(most).safeParse(limit ?? `${usual}`)
    if (count.success) return { ...rest, limit: count.data }
    for (const { message } of count.error.issues) context.addIssue({ code: 'custom', message, path: ['limit'] })
    return z.NEVER
  })

export async function usageCompletions(context: Context<AppEnv>): Promise<Response> {
  const asked = readQuery(context, query, ['group_by', 'project_ids', 'api_key_ids', 'models'])
  const range = {
    startSeconds: asked.start_time,
    endSeconds: asked.end_time ?? Math.floor(Date.now() / 1_000) + 1,
    width: bucketWidths[asked.bucket_width],
  }
  const groups = [...new Set(asked.group_by)]
  const { page, sums } = await sumMinutes(context.env.DB, bucketPage(range, asked.limit, asked.page), groups, {
    projectIds: visibleProjects(context, asked.project_ids),
    keyIds: asked.api_key_ids ?? null,
    models: asked.models ?? null,
    isBatch: asked.batch === undefined ? null : asked.batch === 'true',
  })
  const answer = pageOf(
    page,
    byBucket(sums, (sum) => [resultOf(sum)]),
  )
  if (!wantsCsv(context, asked.format)) return Response.json(answer)
  const rows = answer.data.flatMap(({ start_time, end_time, results }) =>
    results.map((result) => ({ start_time, end_time, ...result })),
  )
  return csvResponse(csvColumns, rows, answer.next_page)
}

const csvColumns = [
  'start_time',
  'end_time',
  ...(['project_id', 'api_key_id', 'model', 'mode', 'batch', 'service_tier', 'num_model_requests'] as const),
  ...(['input_tokens', 'input_cached_tokens', 'input_uncached_tokens'] as const),
  ...(['output_tokens', 'output_reasoning_tokens'] as const),
] as const

/** What was not grouped by is null. */
function resultOf(sum: UsageSum) {
  return {
    object: 'organization.usage.completions.result' as const,
    input_tokens: sum.inputTokens,
    input_cached_tokens: sum.cachedTokens,
    input_uncached_tokens: sum.inputTokens - sum.cachedTokens,
    output_tokens: sum.outputTokens,
    output_reasoning_tokens: sum.reasoningTokens,
    num_model_requests: sum.requestCount,
    project_id: sum.project_id ?? null,
    user_id: null,
    api_key_id: sum.api_key_id ?? null,
    model: sum.model ?? null,
    batch: sum.batch === undefined ? null : sum.batch === 1,
    service_tier: sum.service_tier ?? null,
    mode: sum.mode === undefined ? null : modeName(sum.mode === 1),
  }
}

/** As `x-axle-mode` says it. */
export function modeName(isThinking: boolean): 'think' | 'non-think' {
  return isThinking ? 'think' : 'non-think'
}
