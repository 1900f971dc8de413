/**
 * A cell that has more than it can do says so early, and says truly when to come back. The scripts on a real Redis whose
 * clock the tests move; what is served, and how fast, is seeded.
 */
import { describe, expect, it } from 'vitest'
import type { AdmitResult } from '../../contract/admission.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { retryAfterMaxMs, waitMaxMs } from '../../contract/limits.ts'
import type { ServiceTier } from '../../contract/quota.ts'
import { type Dice, dice } from '../fixtures/dice.ts'
import { admissionOf, noLimits } from '../fixtures/job-desk.ts'
import { ending, scriptBench } from '../fixtures/script-bench.ts'

const bench = scriptBench()
/** Before a rate is told the queue has not been empty for this long. */
const warmUpMs = 10_000

/** One worker that serves tokens at a steady rate, first come, first served, on a clock of the test's own. */
class Cell {
  readonly #tokensPerSecond: number
  readonly #draw: Dice
  readonly #waiting: { readonly jobId: JobId; readonly tokens: number }[] = []
  #nowMs = Date.now()
  #freeAtMs = this.#nowMs

  constructor(tokensPerSecond: number, draw: Dice) {
    this.#tokensPerSecond = tokensPerSecond
    this.#draw = draw
  }

  get tokensPerSecond(): number {
    return this.#tokensPerSecond
  }

  get queuedTokens(): number {
    return this.#waiting.reduce((sum, { tokens }) => sum + tokens, 0)
  }

  async ask(fairTokens: number, tier: ServiceTier, bound = waitMaxMs[tier], from = 'tenant-1'): Promise<AdmitResult> {
    await this.#setClock(this.#nowMs)
    const admission = admissionOf({ tenantId: from, fairTokens, tier, cell: { waitMaxMs: bound } })
    const result = await bench.scripts.admit(admission)
    if (result.kind === 'admitted') this.#waiting.push({ jobId: admission.jobId, tokens: fairTokens })
    return result
  }

  /** Jobs of a twentieth of a second to half of one, whatever the bounds say. */
  async fill(queuedMs: number, tier: ServiceTier = 'flex'): Promise<void> {
    const tokens = (queuedMs / 1_000) * this.#tokensPerSecond
    while (this.queuedTokens < tokens) {
      const jobTokens = Math.ceil((this.#draw(50, 500) / 1_000) * this.#tokensPerSecond)
      await this.ask(jobTokens, tier, Number.MAX_SAFE_INTEGER)
    }
  }

  async run(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs
    for (let next = this.#waiting[0]; next !== undefined && this.#freeAtMs <= untilMs; next = this.#waiting[0]) {
      this.#waiting.shift()
      await this.#setClock(Math.max(this.#freeAtMs, this.#nowMs))
      await bench.scripts.claim(next.jobId, 'w1')
      await bench.scripts.finish(next.jobId, 1, { ...ending, promptTokens: next.tokens })
      this.#freeAtMs += (next.tokens / this.#tokensPerSecond) * 1_000
    }
    this.#nowMs = untilMs
  }

  async #setClock(nowMs: number): Promise<void> {
    await bench.redis.set(keys.clockOffset, Math.round(nowMs - Date.now()))
  }
}

/** A queue of known length before a worker of known speed, for so long that the speed can be told. */
async function busyCell(seed: number, queuedMs: number, tier?: ServiceTier): Promise<Cell> {
  const draw = dice(seed)
  const cell = new Cell(draw(50, 5_000), draw)
  await cell.fill(queuedMs + 2 * warmUpMs, tier)
  await cell.run(2 * warmUpMs)
  return cell
}

describe('a request that would wait longer than its tier may', () => {
  it.each([
    ['priority', 0.9, 'admitted'],
    ['priority', 1.1, 'full'],
    ['default', 0.9, 'admitted'],
    ['default', 1.1, 'full'],
    ['flex', 0.9, 'admitted'],
    ['flex', 1.1, 'full'],
  ] as const)('%s, at %f of its bound: %s', async (tier, part, kind) => {
    const cell = await busyCell(1, part * waitMaxMs[tier])
    expect(await cell.ask(100, tier)).toMatchObject(kind === 'full' ? { kind, reason: 'wait' } : { kind })
  })

  it('is told a Retry-After that is true: at it, it is let in; a tenth of the wait sooner it is not', async () => {
    const boundMs = 20_000
    const told = { early: 0, inTime: 0, count: 0 }
    for (let seed = 0; seed < 20; seed++) {
      await bench.redis.flushall()
      const cell = await busyCell(seed, boundMs + dice(seed)(10_000, 60_000))
      const refused = await cell.ask(100, 'default', boundMs)
      if (refused.kind !== 'full' || refused.reason !== 'wait')
        throw new Error(`Expected a refusal, got ${refused.kind}`)
      told.count += 1
      const earlyMs = 0.1 * (refused.retryAfterMs + boundMs)
      await cell.run(refused.retryAfterMs - earlyMs)
      if ((await cell.ask(100, 'default', boundMs)).kind === 'admitted') told.early += 1
      await cell.run(earlyMs)
      if ((await cell.ask(100, 'default', boundMs)).kind === 'admitted') told.inTime += 1
    }
    expect(told.inTime).toBeGreaterThanOrEqual(0.95 * told.count)
    expect(told.early).toBeLessThanOrEqual(0.05 * told.count)
  })

  it('is told no longer wait than SDKs obey', async () => {
    const cell = await busyCell(3, 3 * retryAfterMaxMs)
    expect(await cell.ask(100, 'default', 1_000)).toMatchObject({ kind: 'full', retryAfterMs: retryAfterMaxMs })
  })
})

describe('a request is not shed for its wait', () => {
  it('when it is another tenant’s queue that is too long, until its own share of it is', async () => {
    const boundMs = 20_000
    const cell = await busyCell(2, 3 * boundMs)
    const jobTokens = 100
    const flooder = await cell.ask(jobTokens, 'default', boundMs)
    expect(flooder).toMatchObject({ kind: 'full', reason: 'wait' })
    let modestTokens = 0
    let result = await cell.ask(jobTokens, 'default', boundMs, 'modest')
    for (; result.kind === 'admitted'; result = await cell.ask(jobTokens, 'default', boundMs, 'modest')) {
      modestTokens += jobTokens
    }
    expect(result).toMatchObject({ kind: 'full', reason: 'wait' })
    // Half of the cell is its: within the bound that much of its own is served.
    const ownTokens = (boundMs / 1_000) * cell.tokensPerSecond * 0.5
    expect(Math.abs(modestTokens / ownTokens - 1)).toBeLessThan(0.1)
    // What may be passed waits for all that may pass it.
    expect(await cell.ask(jobTokens, 'flex', boundMs, 'latest')).toMatchObject({ kind: 'full', reason: 'wait' })
  })

  it('before the queue has not been empty for long enough to tell', async () => {
    const cell = new Cell(100, dice(1))
    await cell.fill(60_000)
    expect(await cell.ask(100, 'default', 1)).toMatchObject({ kind: 'admitted' })
    await cell.run(warmUpMs - 1_000)
    expect(await cell.ask(100, 'default', 1)).toMatchObject({ kind: 'admitted' })
    await cell.run(2_000)
    expect(await cell.ask(100, 'default', 1)).toMatchObject({ kind: 'full', reason: 'wait' })
  })

  it('when the queue is empty, however slow the cell', async () => {
    const cell = await busyCell(1, 0)
    await cell.run(3_600_000)
    expect(await cell.ask(100, 'default', 1)).toMatchObject({ kind: 'admitted' })
  })
})

it.each(['default', 'priority'] as const)(
  'what one tenant piled up sheds no other’s request of tier %s, which is served before it; its flex it does',
  async (tier) => {
    const cell = await busyCell(1, 1.1 * waitMaxMs.flex, tier)
    const last = await cell.ask(100, tier, Number.MAX_SAFE_INTEGER)
    const ask = (of: ServiceTier) => cell.ask(100, of, waitMaxMs[of], 'modest')
    expect(await ask('flex')).toMatchObject({ kind: 'full', reason: 'wait' })
    const first = await ask(tier)
    if (first.kind !== 'admitted' || last.kind !== 'admitted') throw new Error(`Expected admissions, got ${first.kind}`)
    expect(first.priority).toBeLessThan(last.priority)
    expect(await ask('flex')).toMatchObject({ kind: 'full', reason: 'wait' })
  },
)

it('usage rows that nobody drains stop admissions, open jobs counted as the rows they will be: a bill is never dropped', async () => {
  const undrainedRowsMax = 3
  const ask = async () => {
    const admission = admissionOf({ limits: noLimits, cell: { undrainedRowsMax } })
    return { jobId: admission.jobId, result: await bench.scripts.admit(admission) }
  }
  const jobs = [await ask(), await ask(), await ask()]
  expect(jobs.map(({ result }) => result.kind)).toEqual(['admitted', 'admitted', 'admitted'])
  const refusal = { kind: 'full', reason: 'undrained', retryAfterMs: 60_000 }
  expect((await ask()).result).toMatchObject(refusal)
  for (const { jobId } of jobs) {
    await bench.scripts.claim(jobId, 'w1')
    await bench.scripts.finish(jobId, 1, ending)
  }
  expect(await bench.redis.xlen(keys.usage)).toBe(undrainedRowsMax)
  expect((await ask()).result).toMatchObject(refusal)
  await bench.redis.xtrim(keys.usage, 'MAXLEN', undrainedRowsMax - 1)
  expect((await ask()).result).toMatchObject({ kind: 'admitted' })
})
