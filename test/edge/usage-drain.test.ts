/** The minute's tick in real workerd, over a real Redis and a real D1: every bill arrives, and once. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { drainPageRows, idempotencyTtlMs, keyStaleMaxMs } from '../../contract/limits.ts'
import { obey } from '../../edge/broker/control.ts'
import { insertUsage } from '../../edge/usage/drain.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { claimed, ending, scriptBench } from '../fixtures/script-bench.ts'

const bench = scriptBench()
const price = { inputMicro: 1_000_000, cachedInputMicro: 500_000, outputMicro: 3_000_000 }
let edge: TestEdge

beforeAll(async () => {
  edge = await startTestEdge(bench.server.url)
}, 60_000)
beforeEach(async () => {
  for (const table of ['usage_jobs', 'usage_minutes']) await edge.database.exec(`DELETE FROM ${table}`)
})
afterAll(() => edge.stop())

async function endedJob(keyId = 'keyid001'): Promise<JobId> {
  const jobId = await claimed(bench, { price, keyId })
  await bench.scripts.finish(jobId, 1, { ...ending, promptTokens: 11, cachedTokens: 3 })
  return jobId
}

/** So many rows as an ending writes them, without their jobs. */
async function planted(count: number): Promise<void> {
  await endedJob()
  const [row] = await bench.redis.xrange(keys.usage, '-', '+')
  const flat = row?.[1] ?? []
  const pipeline = bench.redis.pipeline()
  for (let i = 1; i < count; i++) {
    pipeline.xadd(keys.usage, '*', ...flat.map((value, at) => (flat[at - 1] === 'jobId' ? `planted-${i}` : value)))
  }
  await pipeline.exec()
}

async function rows(table: string): Promise<Record<string, unknown>[]> {
  const { results } = await edge.database.prepare(`SELECT * FROM ${table}`).all()
  return results
}

async function counts(): Promise<{ jobs: number; summed: number; undrained: number }> {
  const jobs = await edge.database.prepare('SELECT count(*) AS count FROM usage_jobs').first()
  const minutes = await edge.database.prepare('SELECT total(request_count) AS count FROM usage_minutes').first()
  const count = z.object({ count: z.number() })
  const undrained = await bench.redis.xlen(keys.usage)
  return { jobs: count.parse(jobs).count, summed: count.parse(minutes).count, undrained }
}

describe('the usage drain', () => {
  it('puts an ended job into D1 as it was billed, and into its minute', async () => {
    const jobId = await endedJob()
    await edge.scheduled()
    const bill = {
      tenant_id: 'tenant-1',
      key_id: 'keyid001',
      model: 'axk1-tiny',
      is_thinking: 0,
      tier: 'default',
      input_tokens: 11,
      cached_tokens: 3,
      output_tokens: 0,
      reasoning_tokens: 0,
      input_nano: 8_000,
      cached_nano: 1_500,
      output_nano: 0,
    }
    const [row, ...others] = await rows('usage_jobs')
    expect(row).toMatchObject({ job_id: jobId, status: 'completed', ...bill })
    expect(others).toEqual([])
    const minute = Math.floor(Number(row?.['ended_at_ms']) / 60_000)
    expect(await rows('usage_minutes')).toEqual([{ minute, request_count: 1, ...bill }])
    expect(await counts()).toEqual({ jobs: 1, summed: 1, undrained: 0 })
  })

  it('counts once what was inserted and then not acknowledged, and takes what came since', async () => {
    await planted(3)
    const answer = await obey(bench.redis, { kind: 'usage-page', rowsMax: 2 })
    await insertUsage(edge.database, 'rows' in answer ? answer.rows : [])
    expect(await counts()).toEqual({ jobs: 2, summed: 2, undrained: 3 })
    await edge.scheduled()
    expect(await counts()).toEqual({ jobs: 3, summed: 3, undrained: 0 })
  })

  it('moves more than a page, and two at once move each row once', async () => {
    const count = drainPageRows * 2 + 7
    await planted(count)
    await Promise.all([edge.scheduled(), edge.scheduled()])
    expect(await counts()).toEqual({ jobs: count, summed: count, undrained: 0 })
  })

  it('moves in one tick what a cell ends in a minute at 400 jobs a second', async () => {
    const count = 24_000
    await planted(count)
    await edge.scheduled()
    expect(await counts()).toEqual({ jobs: count, summed: count, undrained: 0 })
  }, 60_000)

  it('passes a row over that cannot be read, and says so without its content', async () => {
    await bench.redis.xadd(keys.usage, '*', 'jobId', 'canary-of-a-row')
    await endedJob()
    await edge.scheduled()
    expect(await counts()).toEqual({ jobs: 1, summed: 1, undrained: 0 })
    expect(await bench.redis.xlen(keys.unreadableUsage)).toBe(1)
    expect(edge.logs.filter((line) => line.includes('usage-row-unreadable'))).toHaveLength(1)
    expect(edge.logs.join()).not.toContain('canary-of-a-row')
  })

  it('leaves the rows where they are while D1 refuses them, and fails', async () => {
    await endedJob()
    await edge.database.exec('ALTER TABLE usage_jobs RENAME TO usage_jobs_away')
    await expect(edge.scheduled()).rejects.toThrow('ended with exception')
    expect(await bench.redis.xlen(keys.usage)).toBe(1)
    await edge.database.exec('ALTER TABLE usage_jobs_away RENAME TO usage_jobs')
    await edge.scheduled()
    expect(await counts()).toEqual({ jobs: 1, summed: 1, undrained: 0 })
  })

  it('never changes a row that stands', async () => {
    await endedJob()
    await edge.scheduled()
    await expect(edge.database.exec('UPDATE usage_jobs SET output_tokens = 0')).rejects.toThrow('append-only')
  })
})

describe("the minute's tick", () => {
  it('tells Redis of revocations again that still matter, and of no others', async () => {
    const nowMs = Date.now()
    const insertKey = (id: string, revokedAtMs: number | null) =>
      edge.database
        .prepare(
          `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms, revoked_at_ms)
           VALUES (?1, 'tenant-local', 'live', 'test', ?1, 'p1', '[]', 0, ?2)`,
        )
        .bind(id, revokedAtMs)
    await edge.database.batch([
      insertKey('justgone', nowMs - 1_000),
      insertKey('longgone', nowMs - 2 * keyStaleMaxMs),
      insertKey('stillgood', null),
      edge.database.prepare(
        `INSERT INTO tenants (id, name, created_at_ms, archived_at_ms) VALUES ('proj_gone', 'x', 0, ${nowMs})`,
      ),
    ])
    await edge.scheduled()
    expect((await bench.redis.smembers(keys.revoked)).sort()).toEqual(['justgone', 'proj_gone'])
  })

  it('has Redis forget, after a week, what D1 alone refuses by then; what nobody told D1 of stays', async () => {
    const weekMs = 7 * 86_400_000
    const insertKey = (id: string, ageMs: number) =>
      edge.database.prepare(
        `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms, revoked_at_ms)
         VALUES ('${id}', 'tenant-local', 'live', 'test', '${id}', 'p1', '[]', 0, ${Date.now() - ageMs})`,
      )
    await edge.database.batch([insertKey('weekgone', weekMs + 1), insertKey('sixdays0', weekMs - 60_000)])
    await bench.redis.sadd(keys.revoked, 'weekgone', 'sixdays0', 'halfdone')
    await edge.scheduled()
    const kept = await bench.redis.smembers(keys.revoked)
    expect(kept).toEqual(expect.arrayContaining(['sixdays0', 'halfdone']))
    expect(kept).not.toContain('weekgone')
  })

  it('drops answers to repeated requests after their day, not before', async () => {
    const nowMs = Date.now()
    const insertAnswer = (digest: string, ageMs: number) =>
      edge.database.prepare(
        `INSERT INTO idempotent_answers VALUES ('admin', '${digest}', '', 200, '', ${nowMs - ageMs})`,
      )
    await edge.database.batch([
      insertAnswer('old', idempotencyTtlMs + 1),
      insertAnswer('young', idempotencyTtlMs - 60_000),
    ])
    await edge.scheduled()
    expect(await rows('idempotent_answers')).toMatchObject([{ key_digest: 'young' }])
  })
})
