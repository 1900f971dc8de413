/**
 * Usage rows from Redis' stream into D1, each exactly once (I6), however often, wherever and by how many at once this
 * runs: a row leaves the stream only behind its insert, and the job's id refuses a second one. Sums by the minute are a
 * trigger's, which fires for rows that were really inserted.
 *
 * It knows neither who reads the tables nor what a row is made from.
 */
import { drainPageRows } from '../../contract/limits.ts'
import { tellBroker } from '../broker/client.ts'
import type { Env } from '../env.ts'
import type { UsageRow } from './usage-row.ts'

/**
 * What one minute's tick moves at most: 125,000 rows, more than a cell ends; its 750 calls stay below a Worker's 1,000.
 */
const pagesMax = 250

const columns: Readonly<Record<string, keyof UsageRow>> = {
  job_id: 'jobId',
  tenant_id: 'tenantId',
  key_id: 'keyId',
  model: 'model',
  is_thinking: 'isThinking',
  tier: 'tier',
  status: 'status',
  input_tokens: 'inputTokens',
  cached_tokens: 'cachedTokens',
  output_tokens: 'outputTokens',
  reasoning_tokens: 'reasoningTokens',
  input_nano: 'inputNano',
  cached_nano: 'cachedNano',
  output_nano: 'outputNano',
  admitted_at_ms: 'admittedAtMs',
  ended_at_ms: 'endedAtMs',
}
/** One statement a page, whatever its length; `WHERE true` tells SQLite that the ON is no join's. */
const insert = `INSERT INTO usage_jobs (${Object.keys(columns).join(', ')})
  SELECT ${Object.values(columns)
    .map((field) => `value ->> '${field}'`)
    .join(', ')}
  FROM json_each(?) WHERE true
  ON CONFLICT (job_id) DO NOTHING`

/** @returns rows taken from the stream. @throws when D1 or Redis is away: what was not acknowledged comes again. */
export async function drainUsage(env: Env): Promise<number> {
  let rowCount = 0
  for (let page = 0; page < pagesMax; page++) {
    const { rows } = await tellBroker(env, { kind: 'usage-page', rowsMax: drainPageRows })
    if (rows.length === 0) break
    await insertUsage(env.DB, rows)
    await tellBroker(env, { kind: 'usage-ack', streamIds: rows.map((row) => row.streamId) })
    rowCount += rows.length
  }
  return rowCount
}

/** All or none; rows of jobs that have one are passed over. */
export async function insertUsage(db: D1Database, rows: readonly UsageRow[]): Promise<void> {
  await db.prepare(insert).bind(JSON.stringify(rows)).run()
}
