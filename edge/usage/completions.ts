/** GET /v1/organization/usage/completions: tokens and requests by time, in OpenAI's shape. */
import type { Context } from 'hono'
import { z } from 'zod'
import { readQuery, textList, trueOrFalse, wholeNumber } from '../read-query.ts'
import type { AppEnv } from '../app-env.ts'
import { modeName } from '../mode.ts'
import { refuse } from '../request-errors.ts'
import { bucketPage, bucketWidths, pageOf, rowsOf, type BucketWidth } from './buckets.ts'
import { csvResponse } from './csv.ts'
import { byBucket, sumMinutes, type UsageSum } from './minute-sums.ts'
import { answerForm, orderedRange, rangeOf, timeRange, visibleProjects, wantsCsv } from './usage-query.ts'

/** Buckets on a page: unless the client says, and at most. */
const bucketCounts: Readonly<Record<BucketWidth, readonly [usual: number, most: number]>> = {
  '1m': [60, 1_440],
  '1h': [24, 168],
  '1d': [7, 31],
}
const groupNames = textList.pipe(
  z.array(z.literal(['project_id', 'api_key_id', 'model', 'batch', 'service_tier', 'mode'])),
)

const query = z
  .strictObject({
    ...timeRange,
    ...answerForm,
    bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
    limit: wholeNumber.optional(),
    page: z.string().optional(),
    group_by: groupNames.default([]),
    project_ids: textList.optional(),
    api_key_ids: textList.optional(),
    models: textList.optional(),
    batch: trueOrFalse.optional(),
  })
  .superRefine(orderedRange)
  .superRefine(({ limit = 1, bucket_width }, context) => {
    const [, most] = bucketCounts[bucket_width]
    if (limit >= 1 && limit <= most) return
    refuse(context, 'invalid_value', `expected 1 to ${most} buckets of ${bucket_width}`, ['limit'])
  })

export async function usageCompletions(context: Context<AppEnv>): Promise<Response> {
  const asked = readQuery(context.req.url, query)
  const range = { ...rangeOf(asked), width: bucketWidths[asked.bucket_width] }
  const [usual] = bucketCounts[asked.bucket_width]
  const buckets = bucketPage(range, asked.limit ?? usual, asked.page)
  const groups = [...new Set(asked.group_by)]
  const { page, sums } = await sumMinutes(context.env.DB, buckets, groups, {
    projectIds: visibleProjects(context, asked.project_ids),
    keyIds: asked.api_key_ids ?? null,
    models: asked.models ?? null,
    isBatch: asked.batch ?? null,
  })
  const answer = pageOf(
    page,
    byBucket(sums, (sum) => [resultOf(sum)]),
  )
  if (!wantsCsv(context, asked.format)) return Response.json(answer)
  return csvResponse(csvColumns, rowsOf(answer), answer.next_page)
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
