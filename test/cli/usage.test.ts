/** `axle usage`: the terminal tells what the API has, and reconcile finds whatever is not as the token logs say. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { recountLog } from '../../cli/usage/cell-books.ts'
import { usage } from '../../cli/usage.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import type { EndStatus } from '../../contract/job.ts'
import { monthOf } from '../../contract/month.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { admitted, anError, claimed, ending, scriptBench, token } from '../fixtures/script-bench.ts'
import { printedBy } from '../fixtures/terminal.ts'

const bench = scriptBench()
const price = { inputMicro: 1_500, cachedInputMicro: 700, outputMicro: 2_500 }
const start = { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 11 } as const
const verdict = z.object({
  billsInD1: z.number(),
  billsUndrained: z.number(),
  logs: z.number(),
  counters: z.number(),
  tokens: z.number(),
  differenceTokens: z.number(),
  findings: z.array(z.object({ of: z.string(), what: z.string(), booked: z.number(), counted: z.number() })),
})
let edge: TestEdge

beforeAll(async () => {
  edge = await startTestEdge(bench.server.url)
}, 60_000)
beforeEach(async () => {
  for (const table of ['usage_jobs', 'usage_minutes']) await edge.database.exec(`DELETE FROM ${table}`)
  vi.stubEnv('AXLE_URL', edge.url)
  vi.stubEnv('AXLE_ADMIN_KEY', edge.adminKey)
  vi.stubEnv('REDIS_URL', bench.server.url)
})
afterEach(() => {
  vi.unstubAllEnvs()
})
afterAll(() => edge.stop())

const run = (...args: string[]) => printedBy(usage, ...args)

async function reconciled(...args: string[]) {
  const { out, err, exitCode } = await run('reconcile', '--json', ...args)
  expect(err).toBe('')
  return { ...verdict.parse(JSON.parse(out)), exitCode }
}

/** A job with 11 prompt tokens, 3 of them cached, 2 tokens of reasoning and 1 of content. */
async function endedJob(status: EndStatus = 'completed', tenantId = 'tenant-1'): Promise<JobId> {
  const jobId = await claimed(bench, { price, tenantId })
  const { scripts } = bench
  await scripts.append(jobId, 1, 1, start)
  for (const index of [0, 1, 2]) {
    await scripts.append(jobId, 1, 2 + index, token(index, index < 2 ? 'reasoning' : 'content'))
  }
  await scripts.finish(jobId, 1, { ...ending, status, cachedTokens: 3 })
  return jobId
}

/** Tells the counters that nothing was spent this month. */
async function seeded(tenantId = 'tenant-1'): Promise<void> {
  const [seconds] = await bench.redis.time()
  await bench.scripts.seedSpend(tenantId, monthOf(Number(seconds) * 1_000), 0)
}

/** Ends of every kind, some drained, some not. */
async function mixedUse(): Promise<void> {
  await seeded()
  for (const status of ['completed', 'incomplete', 'failed', 'cancelled'] as const) await endedJob(status)
  await edge.scheduled()
  await endedJob('completed', 'tenant-2')
  await bench.scripts.cancel(await admitted(bench, { price }))
  await bench.scripts.expire(await admitted(bench, { price }), 0, anError)
}

describe('axle usage reconcile', () => {
  it('finds no difference over ends of every kind, drained and not, and says what it compared', async () => {
    await mixedUse()
    expect(await reconciled()).toEqual({
      billsInD1: 4,
      billsUndrained: 3,
      logs: 7,
      counters: 1,
      tokens: 5 * 14,
      differenceTokens: 0,
      findings: [],
      exitCode: undefined,
    })
    await edge.scheduled()
    expect(await reconciled()).toMatchObject({ billsInD1: 7, billsUndrained: 0, findings: [] })
    const { out } = await run('reconcile')
    expect(out).toContain('difference 0 tokens, 0 findings')
  })

  it('of one tenant looks at its books alone', async () => {
    await mixedUse()
    expect(await reconciled('--tenant=tenant-2')).toMatchObject({ billsInD1: 0, billsUndrained: 1, logs: 1 })
  })

  it('finds a bill in D1 that was changed by hand', async () => {
    const jobId = await endedJob()
    await edge.scheduled()
    const { results } = await edge.database
      .prepare("SELECT sql FROM sqlite_master WHERE name = 'usage_jobs_fixed'")
      .all()
    await edge.database.exec('DROP TRIGGER usage_jobs_fixed')
    await edge.database.exec('UPDATE usage_jobs SET output_tokens = output_tokens + 1')
    await edge.database.prepare(String(results[0]?.['sql'])).run()
    const { exitCode, differenceTokens, findings } = await reconciled()
    expect(exitCode).toBe(1)
    expect(findings).toContainEqual({ of: jobId, what: 'output_tokens', booked: 4, counted: 3 })
    // The sum by the minute is as it was.
    expect(differenceTokens).toBe(2)
  })

  it('finds a sum that was changed, and a sum without its jobs', async () => {
    await endedJob()
    await edge.scheduled()
    await edge.database.exec('UPDATE usage_minutes SET input_tokens = 0')
    expect(await reconciled()).toMatchObject({ exitCode: 1, differenceTokens: 11 })
    await edge.database.exec('DELETE FROM usage_jobs')
    expect((await reconciled()).findings.map(({ what }) => what)).toContain('num_model_requests')
  })

  it('finds a row that was lost, one that came twice, and a bill without a log', async () => {
    const lost = await endedJob()
    await bench.redis.del(keys.usage)
    expect((await reconciled()).findings).toContainEqual({ of: lost, what: 'bills', booked: 0, counted: 1 })

    await bench.redis.flushall()
    const twice = await endedJob()
    const [row] = await bench.redis.xrange(keys.usage, '-', '+')
    await bench.redis.xadd(keys.usage, '*', ...(row?.[1] ?? []))
    expect((await reconciled()).findings).toEqual([{ of: twice, what: 'rows', booked: 2, counted: 1 }])

    await bench.redis.del(keys.job(twice))
    expect((await reconciled()).findings).toContainEqual({ of: twice, what: 'logs', booked: 1, counted: 0 })
  })

  it('finds money that the counters have and no bill, and what is held though nothing is open', async () => {
    await seeded()
    await endedJob()
    await bench.redis.hincrby(keys.quota('tenant-1'), 'spentNano', 1)
    const [finding, ...others] = (await reconciled()).findings
    expect(finding).toMatchObject({ of: 'tenant-1', what: 'spent_nano' })
    expect((finding?.booked ?? 0) - (finding?.counted ?? 0)).toBe(1)
    expect(others).toEqual([])
    await bench.redis.hincrby(keys.quota('tenant-1'), 'spentNano', -1)
    await bench.redis.hincrby(keys.quota('tenant-1'), 'reservedNano', 5)
    expect((await reconciled()).findings).toMatchObject([{ of: 'tenant-1', booked: 5, counted: 0 }])
  })

  it('finds a log that cannot be read', async () => {
    const jobId = await endedJob()
    await bench.redis.del(keys.log(jobId))
    await bench.redis.set(keys.log(jobId), 'no stream')
    expect((await reconciled()).findings).toContainEqual({ of: jobId, what: 'readable logs', booked: 1, counted: 0 })
  })

  it('says that Redis does not answer, without its address', async () => {
    const { err, exitCode } = await run('reconcile', '--redis=redis://:canary-password@127.0.0.1:1')
    expect(exitCode).toBe(1)
    expect(err).not.toContain('canary-password')
    expect(err).toContain('Redis does not answer')
  })
})

describe('recountLog()', () => {
  it('counts tokens by their channel and takes the prompt of the last start; a log without an end is none', () => {
    const usageOf = { promptTokens: 99, cachedTokens: 4, completionTokens: 99, reasoningTokens: 99 }
    const end = { kind: 'end', status: 'completed', finishReasons: [], usage: usageOf, error: null } as const
    const entries = [start, token(0, 'reasoning'), { ...start, promptTokens: 12 }, token(1)]
    expect(recountLog(entries)).toBeNull()
    expect(recountLog([...entries, end])).toEqual({
      promptTokens: 12,
      cachedTokens: 4,
      completionTokens: 2,
      reasoningTokens: 1,
    })
  })
})

describe('axle usage', () => {
  beforeEach(async () => {
    await endedJob()
    await endedJob('incomplete', 'tenant-2')
    await edge.scheduled()
  })

  it('tells tokens by day and tenant, and their total', async () => {
    const { out } = await run('--group=project,mode')
    const cells = out.split('\n').map((line) => line.split(/ {2,}/))
    expect(cells).toMatchObject([
      ['FROM', 'PROJECT', 'MODE', 'REQUESTS', 'INPUT', 'CACHED', 'OUTPUT', 'REASONING'],
      [expect.any(String), 'tenant-1', 'non-think', '1', '11', '3', '3', '2'],
      [expect.any(String), 'tenant-2', 'non-think', '1', '11', '3', '3', '2'],
      ['total', '2', '22', '6', '6', '4'],
    ])
    expect((await run('--tenant=tenant-local')).out).toBe('Nothing was used.')
  })

  it('tells costs by line item, exact to the nano-dollar', async () => {
    const { out } = await run('--costs', '--group=item', '--tenant=tenant-1')
    const cells = out.split('\n').map((line) => line.split(/ {2,}/).slice(1))
    expect(cells).toEqual([
      ['ITEM', 'TOKENS', 'USD'],
      ['axk1-tiny, input_tokens', '8', '0.000000012'],
      ['axk1-tiny, cached_input_tokens', '3', '0.000000003'],
      ['axk1-tiny, output_tokens', '3', '0.000000008'],
      ['14', '0.000000023'],
    ])
  })

  it('tells of costs the money alone where all items are in one sum: tokens of unlike prices are none', async () => {
    const cells = (await run('--costs')).out.split('\n').map((line) => line.split(/ {2,}/).slice(1))
    expect(cells).toEqual([['USD'], ['0.000000046'], ['0.000000046']])
  })

  it.each([[], ['--csv'], ['--json'], ['--costs'], ['reconcile']])(
    'does not take a tenant that is none for one without use: %j',
    async (...given) => {
      const { out, err, exitCode } = await run(...given, '--tenant=proj_typo')
      expect([out, exitCode]).toEqual(['', 1])
      expect(err).toContain("there is no tenant 'proj_typo'")
    },
  )

  it('prints the CSV of all pages under one header', async () => {
    const { out } = await run('--csv', '--by=minute', '--from=2d', '--group=project')
    const lines = out.split('\r\n')
    expect(lines.filter((line) => line.startsWith('start_time'))).toHaveLength(1)
    expect(lines).toHaveLength(3)
  })

  it.each([
    ['--by=week', 'expected minute, hour or day'],
    ['--group=person', 'expected project, key, model, mode, tier'],
    ['--from=yesterday', 'expected 24h (ago), 2026-11-24 or 2026-11-24T10:00:00Z'],
  ])('refuses %s', async (argument, reason) => {
    const { err, exitCode } = await run(argument)
    expect(err).toContain(reason)
    expect(exitCode).toBe(1)
  })
})
