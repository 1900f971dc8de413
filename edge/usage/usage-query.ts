/**
 * What all requests for usage ask: a range of time, whose, the form of the answer.
 *
 * A tenant's key sees its own project, whatever it asks for. It knows no table.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import type { AppEnv } from '../app-env.ts'
import { wholeNumber } from '../read-query.ts'
import { refuse } from '../request-errors.ts'

/** Above every year that a person writes. */
const secondsMax = 1e11

/** Of one usage request: which rows count. Null = all. */
export interface UsageFilters {
  readonly projectIds: readonly string[] | null
  readonly keyIds: readonly string[] | null
  readonly models: readonly string[] | null
  readonly isBatch: boolean | null
}

const seconds = wholeNumber.pipe(z.number().max(secondsMax, 'expected Unix seconds, not milliseconds'))
export const limitWithin = (most: number) => wholeNumber.pipe(z.number().min(1).max(most))
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

/** Up to now, where no end is named. Whole seconds. */
export function rangeOf({ start_time, end_time }: { start_time: number; end_time?: number | undefined }) {
  return { startSeconds: start_time, endSeconds: end_time ?? Math.floor(Date.now() / 1_000) + 1 }
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
