/** `axle usage`: what was used, or what it cost, by time and by whatever it is grouped by; as a table, JSON or CSV. */
import { z } from 'zod'
import { nanoPerUsd, usdText } from '../../contract/money.ts'
import { monthBounds, monthOf } from '../../contract/month.ts'
import type { Call } from '../admin/command.ts'
import { table } from '../admin/table.ts'
import { checkTenant } from '../admin/tenant-option.ts'
import { moment, names, since } from '../admin/values.ts'
import type { Query } from '../admin-api.ts'

/** As one types them → as the API says them, of usage and of costs. */
const usageGroups = {
  project: 'project_id',
  key: 'api_key_id',
  model: 'model',
  mode: 'mode',
  tier: 'service_tier',
} as const
const costGroups = { project: 'project_id', key: 'api_key_id', item: 'line_item' } as const
/** The width of a bucket, and the most of them on a page. */
const widths = { minute: ['1m', 1_440], hour: ['1h', 168], day: ['1d', 31] } as const
const costDaysMax = 180

const label = z.string().nullable()
const bucket = z.looseObject({ start_time: z.int(), results: z.array(z.looseObject({})) })
const page = z.object({ data: z.array(bucket), next_page: z.string().nullable() })
const usageResult = z.object({
  num_model_requests: z.int(),
  input_tokens: z.int(),
  input_cached_tokens: z.int(),
  output_tokens: z.int(),
  output_reasoning_tokens: z.int(),
})
const costResult = z.object({ amount: z.object({ value: z.number() }), quantity: z.int().nullable() })

export async function report(call: Call): Promise<void> {
  if (call.has('csv') && call.has('json')) throw new TypeError('Expected --json or --csv, got both')
  const isCosts = call.has('costs')
  const groups = groupsOf(call, isCosts ? costGroups : usageGroups)
  const width = widthOf(call.option('by') ?? 'day', isCosts)
  const path = isCosts ? '/v1/organization/costs' : '/v1/organization/usage/completions'
  const query = { ...rangeOf(call, Date.now()), ...width, group_by: [...groups.values()] }
  if (call.has('csv')) return printCsv(call, path, query)

  const buckets: z.infer<typeof bucket>[] = []
  for await (const { data } of pages(call, path, query)) buckets.push(...data)
  // Of all items together the API tells the money alone.
  const hasTokens = !isCosts || groups.has('item')
  const lines = buckets.flatMap(({ start_time, results }) => results.map((result) => ({ start_time, result })))
  if (lines.length === 0) await checkTenant(call)
  const header = isCosts
    ? [...(hasTokens ? ['TOKENS'] : []), 'USD']
    : ['REQUESTS', 'INPUT', 'CACHED', 'OUTPUT', 'REASONING']
  const numbers = lines.map(({ result }) => (isCosts ? costNumbers(result, hasTokens) : usageNumbers(result)))
  const rows = lines.map(({ start_time, result }, index) => {
    const labels = [...groups.values()].map((name) => label.parse(result[name]) ?? '-')
    return [moment(start_time)].concat(labels, shown(numbers[index] ?? [], isCosts))
  })
  const totals = header.map((_, column) => numbers.reduce((sum, row) => sum + (row[column] ?? 0), 0))
  const total = ['total', ...[...groups.keys()].map(() => ''), ...shown(totals, isCosts)]
  const columns = ['FROM', ...[...groups.keys()].map((name) => name.toUpperCase()), ...header]
  call.tell(buckets, table(columns, rows.length === 0 ? [] : [...rows, total], 'Nothing was used.'))
}

async function* pages(call: Call, path: string, query: Query): AsyncGenerator<z.infer<typeof page>> {
  let next: string | undefined
  do {
    const answer = await call.api.get(path, page, { ...query, page: next })
    yield answer
    next = answer.next_page ?? undefined
  } while (next !== undefined)
}

/** CSV does not say where its next page begins: the same page as JSON does. */
async function printCsv(call: Call, path: string, query: Query): Promise<void> {
  let [text, from]: [string, string | undefined] = ['', undefined]
  for await (const { next_page } of pages(call, path, query)) {
    const part = await call.api.text(path, { ...query, page: from, format: 'csv' })
    text += from === undefined ? part : part.slice(part.indexOf('\n') + 1)
    from = next_page ?? undefined
  }
  if (!text.trimEnd().includes('\n')) await checkTenant(call)
  console.log(text.trimEnd())
}

function usageNumbers(result: object): number[] {
  const of = usageResult.parse(result)
  return [of.num_model_requests, of.input_tokens, of.input_cached_tokens, of.output_tokens, of.output_reasoning_tokens]
}

/** The last is nano-USD: whole numbers add up. */
function costNumbers(result: object, hasTokens: boolean): number[] {
  const { amount, quantity } = costResult.parse(result)
  return [...(hasTokens ? [quantity ?? 0] : []), Math.round(amount.value * nanoPerUsd)]
}

function shown(numbers: readonly number[], isCosts: boolean): string[] {
  return numbers.map((value, column) =>
    isCosts && column === numbers.length - 1 ? usdText(value) : value.toLocaleString('en'),
  )
}

function groupsOf(call: Call, known: Readonly<Record<string, string>>): Map<string, string> {
  const given = call.option('group')
  const asked = given === undefined ? [] : names(given, '--group')
  return new Map(
    asked.map((name) => {
      const field = Object.hasOwn(known, name) ? known[name] : undefined
      if (field === undefined) throw new TypeError(`--group: expected ${Object.keys(known).join(', ')}, got '${name}'`)
      return [name, field]
    }),
  )
}

function widthOf(by: string, isCosts: boolean): Query {
  if (isCosts) {
    if (by !== 'day') throw new TypeError(`--by: costs are told by the day, got '${by}'`)
    return { bucket_width: '1d', limit: costDaysMax }
  }
  const width = Object.entries(widths).find(([name]) => name === by)?.[1]
  if (width === undefined) throw new TypeError(`--by: expected minute, hour or day, got '${by}'`)
  return { bucket_width: width[0], limit: width[1] }
}

/** From the first of the month on, unless it is said otherwise. */
function rangeOf(call: Call, nowMs: number): Query {
  const [from, to, tenant] = ['from', 'to', 'tenant'].map((name) => call.option(name))
  return {
    start_time: from === undefined ? monthBounds(monthOf(nowMs)).fromMs / 1_000 : since(from, '--from', nowMs),
    end_time: to === undefined ? undefined : since(to, '--to', nowMs),
    project_ids: tenant === undefined ? undefined : [tenant],
  }
}
