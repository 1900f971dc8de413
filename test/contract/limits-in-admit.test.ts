/** Limits and budgets where they are kept: `admit` and what follows it, on a real Redis, from both sides of each limit. */
import { describe, expect, it } from 'vitest'
import type { AdmitResult } from '../../contract/admission.ts'
import { keys } from '../../contract/keys.ts'
import { priceMicroMax, windowMs } from '../../contract/limits.ts'
import { costNano } from '../../contract/money.ts'
import type { TenantLimits } from '../../contract/quota.ts'
import type { JobScripts } from '../../contract/scripts.ts'
import { decodeUsageRow } from '../../edge/usage/usage-row.ts'
import { dice } from '../fixtures/dice.ts'
import { admissionOf, type AskOptions, noLimits } from '../fixtures/job-desk.ts'
import { anError, appended, claimed, ending, scriptBench, scriptsWithout, token } from '../fixtures/script-bench.ts'

const bench = scriptBench()
const start = (promptTokens: number) => ({ kind: 'start', epoch: 1, fingerprint: 'f', promptTokens }) as const
const oneNano = { inputMicro: 0, cachedInputMicro: 0, outputMicro: 1_000 }
/** One answer token, nothing else. */
const oneToken = { promptTokensMax: 0, answerTokensMax: 1, contextTokens: 1, fairTokens: 1 } as const

function admit(limits: Partial<TenantLimits>, options: AskOptions = {}, scripts = bench.scripts): Promise<AdmitResult> {
  return scripts.admit(admissionOf({ ...options, limits: { ...noLimits, ...limits } }))
}

async function quota(...fields: string[]): Promise<number[]> {
  return (await bench.redis.hmget(keys.quota('tenant-1'), ...fields)).map(Number)
}

async function monthNow(): Promise<number> {
  const [seconds] = await bench.redis.time()
  const date = new Date(Number(seconds) * 1000)
  return date.getUTCFullYear() * 100 + date.getUTCMonth() + 1
}

function countOf(results: readonly AdmitResult[], kind: AdmitResult['kind']): number {
  return results.filter((result) => result.kind === kind).length
}

/** Asks 600 times, 397 ms apart, a stride that meets every phase of a second; the most admitted in any sliding minute. */
async function fullestMinute(limit: number, scripts: JobScripts): Promise<{ fullest: number; total: number }> {
  const admittedAtMs: number[] = []
  for (let step = 0; step < 600; step++) {
    await bench.redis.set(keys.clockOffset, step * 397)
    const admission = admissionOf({ limits: { ...noLimits, requestsPerMinute: limit } })
    if ((await scripts.admit(admission)).kind !== 'admitted') continue
    admittedAtMs.push(Number(await bench.redis.hget(keys.job(admission.jobId), 'admittedAtMs')))
  }
  const counts = admittedAtMs.map((from) => admittedAtMs.filter((at) => at >= from && at < from + windowMs).length)
  return { fullest: Math.max(...counts), total: admittedAtMs.length }
}

describe('admit', () => {
  it.each([
    ['requests', { requestsPerMinute: 2 }],
    ['tokens', { tokensPerMinute: 299 }],
    ['concurrency', { concurrentRequestsMax: 2 }],
    ['queued-jobs', { queuedJobsMax: 2 }],
    ['queued-tokens', { queuedTokensMax: 200 }],
  ] as const)('stops at %s, says when a retry helps, and counts no refusal', async (reason, limits) => {
    expect(await admit(limits)).toMatchObject({ kind: 'admitted' })
    expect(await admit(limits)).toMatchObject({ kind: 'admitted' })
    const before = await bench.redis.hgetall(keys.quota('tenant-1'))
    const refused = await admit(limits)
    expect(refused).toMatchObject({ kind: 'limited', reason })
    const retryAfterMs = refused.kind === 'limited' ? (refused.retryAfterMs ?? 0) : 0
    expect(retryAfterMs).toBeGreaterThan(0)
    expect(await bench.redis.hgetall(keys.quota('tenant-1'))).toEqual(before)
    // Another tenant has its own.
    expect(await admit(limits, { tenantId: 'tenant-2' })).toMatchObject({ kind: 'admitted' })
    if (reason !== 'requests' && reason !== 'tokens') return
    expect(retryAfterMs).toBeGreaterThan(windowMs - 1_000)
    await bench.redis.set(keys.clockOffset, retryAfterMs)
    expect(await admit(limits)).toMatchObject({ kind: 'admitted' })
  })

  it('tells a request that is larger than the limit that no wait helps', async () => {
    expect(await admit({ tokensPerMinute: 99 })).toMatchObject({
      kind: 'limited',
      reason: 'tokens',
      retryAfterMs: null,
    })
    expect(await admit({ queuedTokensMax: 99 })).toMatchObject({ reason: 'queued-tokens', retryAfterMs: null })
  })

  it('tells what is left', async () => {
    const limits = { requestsPerMinute: 5, tokensPerMinute: 1_000 }
    const result = await admit(limits)
    expect(result).toMatchObject({
      rate: { limitRequests: 5, remainingRequests: 4, limitTokens: 1_000, remainingTokens: 900 },
    })
  })

  it('refuses a key whose time is over by Redis time', async () => {
    const [seconds] = await bench.redis.time()
    const nowMs = Number(seconds) * 1000
    expect(await admit({}, { keyExpiresAtMs: nowMs - 1_000 })).toEqual({ kind: 'expired' })
    expect(await admit({}, { keyExpiresAtMs: nowMs + 60_000 })).toMatchObject({ kind: 'admitted' })
  })

  it('asks for the month’s spend before it keeps to a budget, once', async () => {
    const month = await monthNow()
    expect(await admit({ monthlyBudgetNano: 10 })).toEqual({ kind: 'budget-unknown', month })
    expect(await bench.scripts.seedSpend('tenant-1', month - 1, 3)).toBe(false)
    expect(await bench.scripts.seedSpend('tenant-1', month, 10)).toBe(true)
    expect(await bench.scripts.seedSpend('tenant-1', month, 0)).toBe(false)
    expect(await admit({ monthlyBudgetNano: 10 }, { ...oneToken, price: oneNano })).toMatchObject({
      kind: 'over-budget',
    })
    expect(await admit({ monthlyBudgetNano: 11 }, { ...oneToken, price: oneNano })).toMatchObject({ kind: 'admitted' })
  })

  it('lets exactly 100 of 1,000 at once spend a budget of 100, and settles them to the nano', async () => {
    await bench.scripts.seedSpend('tenant-1', await monthNow(), 0)
    const admissions = Array.from({ length: 1_000 }, () =>
      admissionOf({ ...oneToken, price: oneNano, limits: { ...noLimits, monthlyBudgetNano: 100 } }),
    )
    const results = await Promise.all(admissions.map((admission) => bench.scripts.admit(admission)))
    expect([countOf(results, 'admitted'), countOf(results, 'over-budget')]).toEqual([100, 900])
    for (const [position, { jobId }] of admissions.entries()) {
      if (results[position]?.kind !== 'admitted') continue
      await bench.scripts.claim(jobId, 'w1')
      expect(await bench.scripts.append(jobId, 1, 1, start(0))).toEqual(appended)
      expect(await bench.scripts.append(jobId, 1, 2, token(0))).toEqual(appended)
      await bench.scripts.finish(jobId, 1, { ...ending, promptTokens: 0 })
    }
    expect(await quota('spentNano', 'reservedNano', 'openJobs', 'queuedJobs', 'queuedTokens')).toEqual([
      100, 0, 0, 0, 0,
    ])
  })

  it('would let more spend it if nothing were reserved', async () => {
    const careless = scriptsWithout(bench, 'admit-writes', 'quota.reservedNano + nano\n', 'quota.reservedNano\n')
    await bench.scripts.seedSpend('tenant-1', await monthNow(), 0)
    const options = { ...oneToken, price: oneNano }
    const results = await Promise.all(
      Array.from({ length: 200 }, () => admit({ monthlyBudgetNano: 100 }, options, careless)),
    )
    expect(countOf(results, 'admitted')).toBeGreaterThan(100)
  })

  it('keeps every sliding minute within the limit', async () => {
    const { fullest, total } = await fullestMinute(20, bench.scripts)
    expect(fullest).toBe(20)
    expect(total).toBeGreaterThan(3 * 20)
  })

  it('would not with a window of one second less than a minute', async () => {
    const careless = scriptsWithout(bench, 'window', 'window_buckets = 61', 'window_buckets = 59')
    expect((await fullestMinute(20, careless)).fullest).toBeGreaterThan(20)
  })

  it('frees within a minute what a clock that went back would lock', async () => {
    const limits = { requestsPerMinute: 1 }
    expect(await admit(limits)).toMatchObject({ kind: 'admitted' })
    await bench.redis.set(keys.clockOffset, -3_600_000)
    const refused = await admit(limits)
    expect(refused).toMatchObject({ kind: 'limited', reason: 'requests' })
    const retryAfterMs = refused.kind === 'limited' ? (refused.retryAfterMs ?? 0) : 0
    expect(retryAfterMs).toBeLessThanOrEqual(windowMs + 1_000)
    // Asking meanwhile does not put it off.
    await bench.redis.set(keys.clockOffset, -3_600_000 + 30_000)
    expect(await admit(limits)).toMatchObject({ kind: 'limited' })
    await bench.redis.set(keys.clockOffset, -3_600_000 + retryAfterMs)
    expect(await admit(limits)).toMatchObject({ kind: 'admitted' })
  })
})

describe('a job’s reservation', () => {
  it('follows the prompt’s true length, within the context, and repeating that changes nothing', async () => {
    const price = { inputMicro: 1_000, cachedInputMicro: 0, outputMicro: 2_000 }
    const terms = { promptTokensMax: 80, answerTokensMax: 100, contextTokens: 100, fairTokens: 100, price }
    const jobId = await claimed(bench, terms)
    expect(await quota('t:sum', 'reservedNano')).toEqual([100, 80 + 200])
    for (let time = 0; time < 2; time++) {
      expect(await bench.scripts.append(jobId, 1, 1, start(10))).toEqual(appended)
      expect(await quota('t:sum', 'reservedNano')).toEqual([100, 10 + 180])
    }
    await bench.scripts.finish(jobId, 1, { ...ending, promptTokens: 10 })
    expect(await quota('t:sum', 'reservedNano', 'openJobs')).toEqual([10, 0, 0])
  })

  it('of a job that failed costs nothing, and of one cancelled in the queue neither tokens', async () => {
    await bench.scripts.seedSpend('tenant-1', await monthNow(), 0)
    const failed = await claimed(bench, { price: { ...oneNano, inputMicro: 1_000 } })
    await bench.scripts.append(failed, 1, 1, start(10))
    await bench.scripts.finish(failed, 1, { ...ending, status: 'failed', promptTokens: 10 })
    const waiting = admissionOf({ price: oneNano })
    await bench.scripts.admit(waiting)
    await bench.scripts.cancel(waiting.jobId)
    expect(await quota('spentNano', 'reservedNano', 'openJobs', 'queuedJobs', 't:sum')).toEqual([0, 0, 0, 0, 10])
  })

  it('of a job that ran until it was too old costs what it answered, and nothing when that is nothing', async () => {
    await bench.scripts.seedSpend('tenant-1', await monthNow(), 0)
    const price = { inputMicro: 1_000, cachedInputMicro: 0, outputMicro: 2_000 }
    const answering = await claimed(bench, { price })
    await bench.scripts.append(answering, 1, 1, start(10))
    await bench.scripts.append(answering, 1, 2, token(0))
    const silent = await claimed(bench, { price })
    await bench.scripts.append(silent, 1, 1, start(10))
    for (const jobId of [answering, silent]) expect(await bench.scripts.expire(jobId, 0, anError)).toBe('expired')
    expect(await quota('spentNano', 'reservedNano', 'openJobs')).toEqual([10 + 2, 0, 0])
  })

  it('is billed by the formula that money.ts has, line item by line item', async () => {
    const draw = dice(5)
    for (let time = 0; time < 100; time++) {
      const price = {
        inputMicro: draw(0, 9_999),
        cachedInputMicro: draw(0, 9_999),
        outputMicro: draw(0, priceMicroMax),
      }
      const [promptTokens, cachedTokens] = [draw(50, 2_000), draw(0, 50)]
      const jobId = await claimed(bench, { price })
      expect(await bench.scripts.append(jobId, 1, 1, token(0))).toEqual(appended)
      await bench.scripts.finish(jobId, 1, { ...ending, promptTokens, cachedTokens })
      const [entry] = await bench.redis.xrevrange(keys.usage, '+', '-', 'COUNT', 1)
      expect(decodeUsageRow('', entry?.[1] ?? [])).toMatchObject({
        inputNano: costNano(promptTokens - cachedTokens, price.inputMicro),
        cachedNano: costNano(cachedTokens, price.cachedInputMicro),
        outputNano: costNano(1, price.outputMicro),
      })
    }
  })
})
