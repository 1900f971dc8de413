/**
 * What a request for usage asks: a range of time, filters, groups, the form of the answer; read from the query string.
 *
 * A tenant's key sees its own project, whatever it asks for. It knows no table.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { refuse, requestError } from '../request-errors.ts'

/** Above every year that a person writes. */
const secondsMax = 1e11
const filterValuesMax = 100

/** Of one usage request: which rows count. Null = all. */
export interface UsageFilters {
  readonly projectIds: readonly string[] | null
  readonly keyIds: readonly string[] | null
  readonly models: readonly string[] | null
  readonly isBatch: boolean | null
}

const wholeNumber = (expected: string) =>
  z
    .string()
    .regex(/^\d{1,12}$/, expected)
    .transform(Number)
export const seconds = wholeNumber('expected Unix seconds').refine(
  (value) => value <= secondsMax,
  'expected Unix seconds, not milliseconds',
)
export const limitWithin = (most: number) =>
  wholeNumber('expected a whole number').refine(
    (value) => value >= 1 && value <= most,
    `expected a whole number from 1 to ${most}`,
  )
export const values = z.array(z.string()).max(filterValuesMax)
export const timeRange = { start_time: seconds, end_time: seconds.optional() }
export const answerForm = { format: z.enum(['json', 'csv']).optional() }

/** Refuses a range that ends before it begins. */
export function orderedRange(
  { start_time, end_time }: { start_time: number; end_time?: number | undefined },
  context: z.core.$RefinementCtx,
): void {
  if (end_time === undefined || end_time > start_time) return
  refuse(context, 'contradictory_parameters', "'end_time' must lie behind 'start_time'.", ['end_time'])
}

/**
 * @param lists names of parameters that may be given several times: as `name[]=a&name[]=b` or as `name=a&name=b`
 * @throws AppError 400
 */
export function readQuery<T>(context: Context<AppEnv>, schema: z.ZodType<T>, lists: readonly string[]): T {
  const parameters = new URL(context.req.url).searchParams
  const given = new Map<string, string | readonly string[]>()
  for (const written of new Set(parameters.keys())) {
    const name = written.endsWith('[]') ? written.slice(0, -2) : written
    const all = [...parameters.getAll(name), ...parameters.getAll(`${name}[]`)]
    if (lists.includes(name)) given.set(name, all)
    // Given twice it is a list, which a schema of one value refuses.
    else given.set(written, all.length > 1 ? all : (all[0] ?? ''))
  }
  const parsed = schema.safeParse(Object.fromEntries(given), { reportInput: true })
  if (!parsed.success) throw requestError(parsed.error)
  return parsed.data
}

/** Projects that the caller sees of those it asked for; null = all there are. */
export function visibleProjects(context: Context<AppEnv>, asked: readonly string[] | undefined): string[] | null {
  const caller = context.get('caller')
  if (caller.kind === 'admin') return asked === undefined ? null : [...asked]
  return asked === undefined || asked.includes(caller.tenantId) ? [caller.tenantId] : []
}

/** CSV by `format=csv`, or by an Accept header where the query says nothing. */
export function wantsCsv(context: Context<AppEnv>, format: 'json' | 'csv' | undefined): boolean {
  return format === undefined ? (context.req.header('accept') ?? '').includes('text/csv') : format === 'csv'
}
