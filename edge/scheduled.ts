/**
 * What the deployment does every minute, whoever calls or not: usage into D1, revocations that Redis may have lost,
 * what has been kept long enough. It knows no request.
 */
import assert from 'node:assert/strict'
import { idempotencyTtlMs, jobAgeMaxMs, keyStaleMaxMs } from '../contract/limits.ts'
import { tellBroker } from './broker/client.ts'
import { readSettings, type Env } from './env.ts'
import { logError } from './log.ts'
import { drainUsage } from './usage/drain.ts'

/** An isolate that cannot reach D1 may know a key for so long, and a job that it lets in may wait so long. */
const revocationMattersMs = keyStaleMaxMs + jobAgeMaxMs
/**
 * How long Redis keeps a revocation: longer than any work lasts that was let in before it, so that the set stays
 * bounded.
 */
const revocationKeptMs = 7 * 86_400_000
/** A deployment without ticks for so long still forgets what was due meanwhile. */
const forgetWithinMs = 86_400_000
const idsPerCommand = 1_000

assert(revocationKeptMs > revocationMattersMs, 'no revocation is forgotten while it matters')

/** @throws what failed first; the other duties are done all the same. */
export async function scheduled(env: Env, nowMs: number): Promise<void> {
  readSettings(env)
  const duties = {
    'usage-drain': () => drainUsage(env),
    // Redis forgets where D1 does not: a revocation that was acknowledged bites again within a minute.
    'revocations-again': () => tellRevoked(env, 'revoke', nowMs - revocationMattersMs, nowMs),
    'old-revocations': () =>
      tellRevoked(env, 'forget-revoked', nowMs - revocationKeptMs - forgetWithinMs, nowMs - revocationKeptMs),
    'old-answers': () => dropAnswers(env.DB, nowMs),
  }
  const failures: unknown[] = []
  for (const [name, duty] of Object.entries(duties)) {
    try {
      await duty()
    } catch (error) {
      logError('scheduled-duty-failed', error, { duty: name })
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}

/** Of the keys and projects that ended in a range of time. */
async function tellRevoked(env: Env, kind: 'revoke' | 'forget-revoked', fromMs: number, toMs: number): Promise<void> {
  const { results } = await env.DB.prepare(
    `SELECT id FROM api_keys WHERE revoked_at_ms BETWEEN ?1 AND ?2
     UNION ALL SELECT id FROM tenants WHERE archived_at_ms BETWEEN ?1 AND ?2`,
  )
    .bind(fromMs, toMs)
    .all<{ id: string }>()
  for (let first = 0; first < results.length; first += idsPerCommand) {
    const ids = results.slice(first, first + idsPerCommand).map((row) => row.id)
    await tellBroker(env, { kind, ids })
  }
}

async function dropAnswers(db: D1Database, nowMs: number): Promise<void> {
  await db
    .prepare('DELETE FROM idempotent_answers WHERE created_at_ms < ?')
    .bind(nowMs - idempotencyTtlMs)
    .run()
}
