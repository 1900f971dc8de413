/**
 * Sums over `usage_minutes`: filtered, by bucket and by the columns asked for. It knows no answer's shape.
 */
import { AppError } from '../../contract/errors.ts'
import { cutPage, type BucketPage } from './buckets.ts'
import type { UsageFilters } from './usage-query.ts'

/** What usage may be grouped by → the expression in the table. */
const groupExpressions = {
  project_id: 'tenant_id',
  api_key_id: 'key_id',
  model: 'model',
  batch: "tier = 'batch'",
  service_tier: 'tier',
  mode: 'is_thinking',
} as const
export type UsageGroup = keyof typeof groupExpressions

const sums = {
  requestCount: 'request_count',
  inputTokens: 'input_tokens',
  cachedTokens: 'cached_tokens',
  outputTokens: 'output_tokens',
  reasoningTokens: 'reasoning_tokens',
  inputNano: 'input_nano',
  cachedNano: 'cached_nano',
  outputNano: 'output_nano',
} as const

/** Of one bucket and one combination of the groups. */
export type UsageSum = Readonly<Record<keyof typeof sums, number>> & {
  /** First minute of its bucket. */
  readonly minute: number
} & Readonly<Partial<Record<UsageGroup, string | number>>>

/** Sums in one answer; what is beyond goes to the next page. */
const sumsMax = 10_000

/**
 * @returns the sums in the order of buckets, then groups, and the page they fill, which may be shorter than the one
 * asked
 *   for. @throws AppError 400 when not even one bucket fits.
 */
export async function sumMinutes(
  db: D1Database,
  page: BucketPage,
  groups: readonly UsageGroup[],
  filters: UsageFilters,
): Promise<{ page: BucketPage; sums: UsageSum[] }> {
  const { firstMinute, width, count } = page
  const conditions = ['minute >= ?', 'minute < ?']
  const bound: (string | number)[] = [firstMinute, firstMinute + count * width]
  const among = (column: string, values: readonly string[] | null) => {
    if (values === null) return
    conditions.push(`${column} IN (SELECT value FROM json_each(?))`)
    bound.push(JSON.stringify(values))
  }
  among('tenant_id', filters.projectIds)
  among('key_id', filters.keyIds)
  among('model', filters.models)
  if (filters.isBatch !== null) conditions.push(`tier ${filters.isBatch ? '=' : '<>'} 'batch'`)

  const keys = [
    `minute / ${width} * ${width} AS minute`,
    ...groups.map((name) => `${groupExpressions[name]} AS ${name}`),
  ]
  const places = keys.map((_, index) => index + 1).join(', ')
  const columns = [...keys, ...Object.entries(sums).map(([name, column]) => `sum(${column}) AS ${name}`)]
  const { results } = await db
    .prepare(
      `SELECT ${columns.join(', ')} FROM usage_minutes WHERE ${conditions.join(' AND ')}
       GROUP BY ${places} ORDER BY ${places} LIMIT ${sumsMax + 1}`,
    )
    .bind(...bound)
    .all<UsageSum>()
  const beyond = results[sumsMax]
  if (beyond === undefined) return { page, sums: results }
  if (beyond.minute === firstMinute) {
    throw new AppError('invalid_value', `One bucket has more than ${sumsMax} groups. Group by less, or filter.`, {
      param: 'group_by',
    })
  }
  return { page: cutPage(page, beyond.minute), sums: results.filter((sum) => sum.minute < beyond.minute) }
}

/** Results of each bucket, by its first minute. */
export function byBucket<Result>(
  all: readonly UsageSum[],
  resultsOf: (sum: UsageSum) => readonly Result[],
): Map<number, Result[]> {
  const buckets = new Map<number, Result[]>()
  for (const sum of all) {
    const results = buckets.get(sum.minute) ?? []
    results.push(...resultsOf(sum))
    buckets.set(sum.minute, results)
  }
  return buckets
}
