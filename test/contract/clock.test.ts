/**
 * Case 42 where time is told: limits, months, expiry and the queue's rate follow Redis's clock and survive its jumps.
 * The clock is moved through the offset that only tests set; what a worker's own clock may do is its own test.
 */
import { describe, expect, it } from 'vitest'
import type { AdmitResult } from '../../contract/admission.ts'
import { keys } from '../../contract/keys.ts'
import { jobAgeMaxMs, windowMs } from '../../contract/limits.ts'
import type { JobScripts } from '../../contract/scripts.ts'
import { dice } from '../fixtures/dice.ts'
import { admissionOf, noLimits } from '../fixtures/job-desk.ts'
import { admitted, anError, claimed, ending, scriptBench, scriptsWithout } from '../fixtures/script-bench.ts'

const bench = scriptBench()
const clientCount = 16
const hourMs = 3_600_000
const limits = { ...noLimits, requestsPerMinute: 40, tokensPerMinute: 3_000 }

interface Admitted {
  /** Of a clock that only ever went forward. */
  readonly elapsedMs: number
  /** What the job turned out to need. */
  readonly tokens: number
}

interface Run {
  readonly seed: number
  readonly rounds: number
  /** In a round, the chance that the clock goes back by up to an hour. */
  readonly backChance: number
  readonly scripts?: JobScripts
}

/** Sixteen clients ask at once, round after round; between rounds the clock moves. */
async function run({ seed, rounds, backChance, scripts = bench.scripts }: Run): Promise<Admitted[]> {
  const draw = dice(seed)
  const all: Admitted[] = []
  let offsetMs = 0
  let wentBackMs = 0
  const ask = async (reserved: number, tokens: number) => {
    const admission = admissionOf({ fairTokens: reserved, limits })
    const result = await scripts.admit(admission)
    if (result.kind !== 'admitted') return
    const { jobId } = admission
    await scripts.claim(jobId, 'w1')
    await scripts.finish(jobId, 1, { ...ending, promptTokens: tokens })
    const admittedAtMs = Number(await bench.redis.hget(keys.job(jobId), 'admittedAtMs'))
    all.push({ elapsedMs: admittedAtMs + wentBackMs, tokens })
  }
  for (let round = 0; round < rounds; round++) {
    const clients = Array.from({ length: clientCount }, () => {
      const reserved = draw(2, 300)
      return ask(reserved, draw(1, reserved))
    })
    await Promise.all(clients)
    const backMs = draw.chance(backChance) ? draw(1, hourMs) : 0
    wentBackMs += backMs
    offsetMs += draw(0, 4_000) - backMs
    await bench.redis.set(keys.clockOffset, offsetMs)
  }
  return all.sort((one, other) => one.elapsedMs - other.elapsedMs)
}

/** The most that any sliding minute holds, of `measure`. */
function fullestMinute(all: readonly Admitted[], measure: (one: Admitted) => number): number {
  const sums = all.map(({ elapsedMs: fromMs }, first) =>
    all
      .slice(first)
      .filter(({ elapsedMs }) => elapsedMs < fromMs + windowMs)
      .reduce((sum, one) => sum + measure(one), 0),
  )
  return Math.max(...sums)
}

describe('case 42: in every sliding minute', () => {
  it.each([
    ['while the clock runs on, now slow, now fast', { seed: 1, rounds: 120, backChance: 0 }],
    ['while it also goes back', { seed: 2, rounds: 160, backChance: 0.04 }],
  ] as const)('16 clients at once get no more than the limits, %s', async (_how, options) => {
    const all = await run(options)
    const minutes = ((all.at(-1)?.elapsedMs ?? 0) - (all[0]?.elapsedMs ?? 0)) / windowMs
    expect(minutes).toBeGreaterThan(3)
    const requests = fullestMinute(all, () => 1)
    expect(requests).toBeLessThanOrEqual(limits.requestsPerMinute)
    expect(fullestMinute(all, ({ tokens }) => tokens)).toBeLessThanOrEqual(limits.tokensPerMinute)
    // They get what is theirs: a limit that lets nothing by keeps its promise too.
    expect(all.length).toBeGreaterThan((minutes - 2) * limits.requestsPerMinute * 0.4)
  })

  it('they would get more if a second were missing from it', async () => {
    const careless = scriptsWithout(bench, 'window', 'window_buckets = 61', 'window_buckets = 59')
    const all = await run({ seed: 1, rounds: 120, backChance: 0, scripts: careless })
    expect(fullestMinute(all, () => 1)).toBeGreaterThan(limits.requestsPerMinute)
  })
})

/** A job of 5 nano-USD. */
function spend(monthlyBudgetNano: number): Promise<AdmitResult> {
  const price = { inputMicro: 1_000, cachedInputMicro: 0, outputMicro: 0 }
  return bench.scripts.admit(admissionOf({ price, fairTokens: 10, limits: { ...noLimits, monthlyBudgetNano } }))
}

/** As 202611. */
function monthOf(atMs: number): number {
  return Number(new Date(atMs).toISOString().slice(0, 7).replace('-', ''))
}

describe('case 42: a clock that jumps', () => {
  it('expires no job early and lets none live on for ever', async () => {
    const jobId = await claimed(bench)
    await bench.redis.set(keys.clockOffset, -hourMs)
    expect(await bench.scripts.expire(jobId, jobAgeMaxMs, anError)).toBe('young')
    await bench.redis.set(keys.clockOffset, jobAgeMaxMs - 1_000)
    expect(await bench.scripts.expire(jobId, jobAgeMaxMs, anError)).toBe('young')
    await bench.redis.set(keys.clockOffset, jobAgeMaxMs)
    expect(await bench.scripts.expire(jobId, jobAgeMaxMs, anError)).toBe('expired')
  })

  it('lets a key expire by Redis’s time and come back with it', async () => {
    const [seconds] = await bench.redis.time()
    const keyExpiresAtMs = Number(seconds) * 1_000 + 60_000
    const kindOf = async () => (await bench.scripts.admit(admissionOf({ keyExpiresAtMs }))).kind
    expect(await kindOf()).toBe('admitted')
    await bench.redis.set(keys.clockOffset, 60_000)
    expect(await kindOf()).toBe('expired')
    await bench.redis.set(keys.clockOffset, -hourMs)
    expect(await kindOf()).toBe('admitted')
  })

  it('back into the month before spends no month’s budget twice; the next month begins at nothing', async () => {
    const dayMs = 24 * hourMs
    const [seconds] = await bench.redis.time()
    const now = new Date(Number(seconds) * 1_000)
    const toNextMonthMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1) - now.getTime() + dayMs
    await bench.redis.set(keys.clockOffset, toNextMonthMs)
    const month = monthOf(now.getTime() + toNextMonthMs)
    expect(await bench.scripts.seedSpend('tenant-1', month, 96)).toBe(true)
    expect(await spend(100)).toMatchObject({ kind: 'over-budget' })
    // Back by three days, into the month before, which is over and paid.
    await bench.redis.set(keys.clockOffset, toNextMonthMs - 3 * dayMs)
    expect(await spend(100)).toMatchObject({ kind: 'over-budget' })
    await bench.redis.set(keys.clockOffset, toNextMonthMs + 31 * dayMs)
    expect(await spend(100)).toMatchObject({ kind: 'admitted' })
    expect(await spend(9)).toMatchObject({ kind: 'over-budget' })
  })

  it('back leaves the queue’s rate unknown for seconds, not until it has caught up', async () => {
    await admitted(bench)
    await bench.redis.set(keys.clockOffset, -hourMs)
    await admitted(bench)
    const [seconds] = await bench.redis.time()
    const busySinceMs = Number(await bench.redis.hget(keys.cell, 'busySinceMs'))
    expect(Math.abs(busySinceMs - (Number(seconds) * 1_000 - hourMs))).toBeLessThan(5_000)
  })
})
