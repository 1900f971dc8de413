/**
 * GET /v1/organization/costs: what usage cost, day by day (UTC), in OpenAI's shape.
 *
 * Amounts are sums of whole nano-USD, made into USD once, as text. It knows no prices: every bill carries its own.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { usdText } from '../../contract/money.ts'
import { readQuery, textList } from '../read-query.ts'
import type { AppEnv } from '../app-env.ts'
import { bucketPage, bucketWidths, pageOf, rowsOf } from './buckets.ts'
import { csvResponse } from './csv.ts'
import { byBucket, sumMinutes, type UsageSum } from './minute-sums.ts'
import { answerForm, limitWithin, orderedRange, rangeOf, timeRange, visibleProjects, wantsCsv } from './usage-query.ts'

const daysMax = 180
const daysUsual = 7

const query = z
  .strictObject({
    ...timeRange,
    ...answerForm,
    bucket_width: z.literal('1d').default('1d'),
    limit: limitWithin(daysMax).default(daysUsual),
    page: z.string().optional(),
    group_by: textList.pipe(z.array(z.literal(['project_id', 'api_key_id', 'line_item']))).default([]),
    project_ids: textList.optional(),
    api_key_ids: textList.optional(),
  })
  .superRefine(orderedRange)

export async function costs(context: Context<AppEnv>): Promise<Response> {
  const asked = readQuery(context.req.url, query)
  const range = { ...rangeOf(asked), width: bucketWidths['1d'] }
  const isItemised = asked.group_by.includes('line_item')
  const groups = [...new Set(asked.group_by.map((name) => (name === 'line_item' ? 'model' : name)))]
  const { page, sums } = await sumMinutes(context.env.DB, bucketPage(range, asked.limit, asked.page), groups, {
    projectIds: visibleProjects(context, asked.project_ids),
    keyIds: asked.api_key_ids ?? null,
    models: null,
    isBatch: null,
  })
  const answer = pageOf(
    page,
    byBucket(sums, (sum) => (isItemised ? itemsOf(sum) : [totalOf(sum)])),
  )
  if (!wantsCsv(context, asked.format)) {
    const data = answer.data.map((bucket) => ({ ...bucket, results: bucket.results.map(openAiResult) }))
    return Response.json({ ...answer, data })
  }
  return csvResponse(csvColumns, rowsOf(answer), answer.next_page)
}

const csvColumns = [
  'start_time',
  'end_time',
  ...(['project_id', 'api_key_id', 'line_item', 'quantity', 'quantity_unit', 'amount_usd'] as const),
] as const

/** Input, cached input, output: what was used of each, and what each cost. */
function itemsOf(sum: UsageSum) {
  const items = [
    ['input_tokens', sum.inputTokens - sum.cachedTokens, sum.inputNano],
    ['cached_input_tokens', sum.cachedTokens, sum.cachedNano],
    ['output_tokens', sum.outputTokens, sum.outputNano],
  ] as const
  return items
    .filter(([, quantity]) => quantity > 0)
    .map(([name, quantity, nano]) => resultOf(sum, nano, { name: `${sum.model ?? ''}, ${name}`, quantity }))
}

function totalOf(sum: UsageSum) {
  return resultOf(sum, sum.inputNano + sum.cachedNano + sum.outputNano, null)
}

function resultOf(sum: UsageSum, nano: number, item: { name: string; quantity: number } | null) {
  return {
    line_item: item?.name ?? null,
    project_id: sum.project_id ?? null,
    api_key_id: sum.api_key_id ?? null,
    quantity: item?.quantity ?? null,
    quantity_unit: item === null ? null : 'tokens',
    amount_usd: usdText(nano),
  }
}

function openAiResult({ amount_usd, ...rest }: ReturnType<typeof resultOf>) {
  return { object: 'organization.costs.result', amount: { value: Number(amount_usd), currency: 'usd' }, ...rest }
}
