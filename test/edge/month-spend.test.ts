/** What a month has cost, found again: by D1 and the rows on their way there, each once, at the months' edges too. Real D1, real Redis. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { seedSpend } from '../../edge/broker/spend.ts'
import { monthBounds } from '../../contract/month.ts'
import { monthSpendNano } from '../../edge/usage/month-spend.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { scriptBench } from '../fixtures/script-bench.ts'

const bench = scriptBench()
let edge: TestEdge

beforeAll(async () => {
  edge = await startTestEdge('redis://127.0.0.1:1')
}, 60_000)
beforeEach(() =>
  edge.database.batch(['usage_jobs', 'usage_minutes'].map((table) => edge.database.prepare(`DELETE FROM ${table}`))),
)
afterAll(() => edge.stop())

/** 60 nano-USD. */
const costs = { inputNano: 10, cachedNano: 20, outputNano: 30 }
const costNano = 60

function drained(jobId: string, endedAtMs: number, tenantId = 'tenant-1'): Promise<unknown> {
  return edge.database
    .prepare(`INSERT INTO usage_jobs VALUES (?, ?, 'key', 'm', 0, 'default', 'completed', 1, 1, 1, 0, ?, ?, ?, 0, ?)`)
    .bind(jobId, tenantId, costs.inputNano, costs.cachedNano, costs.outputNano, endedAtMs)
    .run()
}

async function undrained(jobId: string, endedAtMs: number, tenantId = 'tenant-1'): Promise<void> {
  const fields = {
    jobId,
    tenantId,
    keyId: 'key',
    model: 'm',
    isThinking: 0,
    tier: 'default',
    status: 'completed',
    promptTokens: 1,
    cachedTokens: 1,
    completionTokens: 1,
    reasoningTokens: 0,
    ...costs,
    admittedAtMs: 0,
    endedAtMs,
  }
  await bench.redis.xadd(keys.usage, '*', ...Object.entries(fields).flat())
}

async function spentNano(): Promise<number> {
  return Number(await bench.redis.hget(keys.quota('tenant-1'), 'spentNano'))
}

async function thisMonth() {
  const [seconds] = await bench.redis.time()
  const now = new Date(Number(seconds) * 1_000)
  const month = now.getUTCFullYear() * 100 + now.getUTCMonth() + 1
  return { month, ...monthBounds(month) }
}

describe('monthSpendNano()', () => {
  it.each([
    [202_611, '2026-11-01', '2026-12-01'],
    [202_612, '2026-12-01', '2027-01-01'],
    [202_802, '2028-02-01', '2028-03-01'],
  ])('%d is UTC’s: its first millisecond counts, that of the next month does not', async (month, from, to) => {
    const [fromMs, toMs] = [Date.parse(from), Date.parse(to)]
    expect(monthBounds(month)).toEqual({ fromMs, toMs })
    for (const [jobId, atMs] of Object.entries({ before: fromMs - 1, first: fromMs, last: toMs - 1, next: toMs })) {
      await drained(jobId, atMs)
    }
    await drained('foreign', fromMs, 'tenant-2')
    expect(await monthSpendNano(edge.database, 'tenant-1', month)).toBe(2 * costNano)
    // Jobs that the caller counts itself, of whatever month or tenant, known or not.
    const without = ['first', 'before', 'foreign', 'unknown']
    expect(await monthSpendNano(edge.database, 'tenant-1', month, without)).toBe(costNano)
    expect(await monthSpendNano(edge.database, 'tenant-3', month)).toBe(0)
  })
})

describe('seedSpend()', () => {
  it('adds what D1 has and what waits for it: a row in both counts once, another month’s and tenant’s not at all', async () => {
    const { month, fromMs, toMs } = await thisMonth()
    await drained('a', fromMs)
    for (const jobId of ['b', 'both']) await undrained(jobId, toMs - 1)
    await drained('both', toMs - 1)
    await undrained('before', fromMs - 1)
    await undrained('foreign', fromMs, 'tenant-2')
    await bench.redis.xadd(keys.usage, '*', 'jobId', 'broken')
    await seedSpend(bench, edge.database, 'tenant-1', month)
    expect(await spentNano()).toBe(3 * costNano)
    // What is known is not told again.
    await drained('late', fromMs)
    await seedSpend(bench, edge.database, 'tenant-1', month)
    expect(await spentNano()).toBe(3 * costNano)
  })

  it('a job that ends while D1 is asked is paid for', async () => {
    const { month, fromMs } = await thisMonth()
    await undrained('seen', fromMs)
    const [seen] = await bench.redis.xrange(keys.usage, '-', '+')
    await undrained('meanwhile', fromMs)
    await undrained('foreign', fromMs, 'tenant-2')
    await undrained('before', fromMs - 1)
    expect(await bench.scripts.seedSpend('tenant-1', month, costNano, seen?.[0])).toBe(true)
    expect(await spentNano()).toBe(2 * costNano)
  })
})
