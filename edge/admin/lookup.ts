/**
 * What every route of the Admin API says of an id: read from the path, and the one answer to an id that is not there.
 *
 * Unknown, deleted and another project's are the same bytes, so no id can be guessed by the answer. Knows no table.
 */
import assert from 'node:assert/strict'
import type { Context } from 'hono'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'

export function idFrom(context: Context<AppEnv>, name: 'project' | 'key' | 'limit'): string {
  const id = context.req.param(name)
  assert(id !== undefined, `the route has :${name}`)
  return id
}

export function missing(): AppError {
  return new AppError('not_found', 'There is no such thing here: the id is unknown, or it was deleted.')
}

/** Unix seconds, as OpenAI tells time. */
export function seconds(ms: number): number
export function seconds(ms: number | null): number | null
export function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / 1000)
}
