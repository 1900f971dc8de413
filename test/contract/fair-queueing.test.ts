/**
 * Start-time fair queueing as the scripts do it, judged in simulation: the published bound on the service gap of two flows
 * (Goyal, Vin, Cheng 1996, theorem 1), widened by what serving in steps adds; shares by weight; tiers as head starts.
 */
import assert from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import { tierHeadStartTokens, tokensPerPriority } from '../../contract/limits.ts'
import type { JobScripts } from '../../contract/scripts.ts'
import { dice } from '../fixtures/dice.ts'
import { type Flow, type LaneJob, MemoryLanes } from '../fixtures/memory-lanes.ts'
import { scriptBench, scriptsWithout } from '../fixtures/script-bench.ts'

const bench = scriptBench()
/** Tokens of a job. */
const tiny = [1, 80] as const
const large = [1, 4_096] as const
/** The lane in memory is searched as a whole. */
const waitingMax = 400

function flow(tenantId: string, weight = 1, tier: Flow['tier'] = 'default'): Flow {
  return { tenantId, tier, weightMilli: weight * 1_000 }
}

function lanes(scripts: JobScripts = bench.scripts): MemoryLanes {
  return new MemoryLanes(bench.redis, scripts)
}

/**
 * How far two flows' weighted service has parted at most, over every interval in which both had something waiting: the
 * range of W₁/w₁ − W₂/w₂ within such a stretch, since every interval in it is a difference of two of its points.
 */
class GapMeter {
  readonly boundTokens: number
  widestTokens = 0
  stretches = 0
  readonly #pair: readonly [Flow, Flow]
  #range: { now: number; least: number; most: number } | null = null

  constructor(pair: readonly [Flow, Flow], tokensMax: number) {
    this.#pair = pair
    const [one, other] = pair.map((each) => (tokensMax * 1_000) / each.weightMilli)
    this.boundTokens = (one ?? 0) + (other ?? 0) + 2 * tokensPerPriority
  }

  /** Told before each claim what waits. */
  isBacklogged(waiting: readonly LaneJob[]): boolean {
    const isBoth = this.#pair.every((each) => waiting.some((job) => job.flow === each))
    if (!isBoth) this.#range = null
    else if (this.#range === null) {
      this.#range = { now: 0, least: 0, most: 0 }
      this.stretches += 1
    }
    return isBoth
  }

  /** And behind it, while both wait, what was served. */
  served({ flow: of, tokens }: LaneJob): void {
    if (this.#range === null) return
    const weighted = (tokens * 1_000) / of.weightMilli
    if (of === this.#pair[0]) this.#range.now += weighted
    if (of === this.#pair[1]) this.#range.now -= weighted
    this.#range.least = Math.min(this.#range.least, this.#range.now)
    this.#range.most = Math.max(this.#range.most, this.#range.now)
    this.widestTokens = Math.max(this.widestTokens, this.#range.most - this.#range.least)
  }
}

interface Life {
  readonly seed: number
  readonly flows: readonly Flow[]
  readonly costs: readonly [number, number]
  readonly claimCount: number
  readonly burstMax?: number
  readonly scripts?: JobScripts
}

/** Bursts of random size from random flows, each of which comes and goes, while jobs are served. */
async function live(life: Life): Promise<{ meters: GapMeter[]; rebases: number }> {
  const { seed, flows, costs, claimCount, burstMax = 12, scripts } = life
  const draw = dice(seed)
  const queue = lanes(scripts)
  const tokensMax = costs[1]
  const meters = flows.flatMap((one, i) => flows.slice(i + 1).map((other) => new GapMeter([one, other], tokensMax)))
  let rebases = 0
  for (let claims = 0; claims < claimCount;) {
    if (queue.waiting.length < 2 || (queue.waiting.length < waitingMax && draw.chance(0.12))) {
      const from = flows[draw(0, flows.length - 1)]
      assert(from !== undefined)
      const burst = draw(1, burstMax)
      for (let count = 0; count < burst; count++) await queue.admit(from, draw(...costs))
      continue
    }
    const measuring = meters.filter((meter) => meter.isBacklogged(queue.waiting))
    const served = await queue.serve()
    for (const meter of measuring) meter.served(served)
    if (await queue.rebase()) rebases += 1
    claims += 1
  }
  return { meters, rebases }
}

function pairsOf(flows: readonly Flow[]): (readonly [Flow, Flow])[] {
  return flows.flatMap((one, i) => flows.slice(i + 1).map((other) => [one, other] as const))
}

/** Of the pairs within one tier: the largest part of its bound that a gap ever took. */
async function worstGap(life: Life): Promise<number> {
  const { meters } = await live(life)
  const parts = pairsOf(life.flows).flatMap(([one, other], i) => {
    const meter = meters[i]
    return meter !== undefined && one.tier === other.tier ? [meter] : []
  })
  expect(Math.min(...parts.map(({ stretches }) => stretches))).toBeGreaterThan(0)
  return Math.max(...parts.map(({ widestTokens, boundTokens }) => widestTokens / boundTokens))
}

const lives: Readonly<Record<string, Omit<Life, 'scripts'>>> = {
  'equal weights': { seed: 1, flows: [flow('a'), flow('b')], costs: large, claimCount: 700 },
  'weights 1, 2 and 7': { seed: 2, flows: [flow('a'), flow('b', 2), flow('c', 7)], costs: large, claimCount: 700 },
  'jobs smaller than a step': { seed: 3, flows: [flow('a'), flow('b', 3)], costs: tiny, claimCount: 700 },
  'weights 1 and 1,000': { seed: 4, flows: [flow('a'), flow('b', 1_000)], costs: tiny, claimCount: 700, burstMax: 300 },
  'weights 0.001 and 1': { seed: 5, flows: [flow('a', 0.001), flow('b')], costs: tiny, claimCount: 700 },
  'two tenants behind a better tier': {
    seed: 6,
    flows: [flow('a'), flow('b'), flow('best', 1, 'priority')],
    costs: large,
    claimCount: 1_000,
  },
}

describe('two flows of a tier that both wait', () => {
  it.each(Object.keys(lives))('are served within L₁/w₁ + L₂/w₂ and a step each: %s', async (name) => {
    const life = lives[name]
    expect(life && (await worstGap(life))).toBeLessThanOrEqual(1)
  })

  it('stay within it across a rebase', async () => {
    const life = { seed: 6, flows: [flow('a'), flow('b', 2)], costs: [1, 2_000_000], claimCount: 500 } as const
    const { meters, rebases } = await live(life)
    expect(rebases).toBeGreaterThan(1)
    for (const { widestTokens, boundTokens } of meters) expect(widestTokens).toBeLessThanOrEqual(boundTokens)
  })

  it.each([
    ['if nothing were charged', 'equal weights', 'return tokens * 1000 / weight_milli', 'return 0'],
    [
      'if a charge were rounded',
      'weights 1 and 1,000',
      'tokens * 1000 / weight_milli',
      'math.ceil(tokens * 1000 / weight_milli)',
    ],
    [
      'if a tier had no virtual time',
      'two tenants behind a better tier',
      'math.max(tier_virtual, virtual - offset)',
      'virtual',
    ],
  ] as const)('would not %s: %s', async (_why, name, protection, instead) => {
    const life = lives[name]
    const scripts = scriptsWithout(bench, 'fair', protection, instead)
    expect(life && (await worstGap({ ...life, scripts }))).toBeGreaterThan(1)
  })
})

describe('weights', () => {
  it('1, 2 and 4 share the service within 5 %', async () => {
    const draw = dice(7)
    const queue = lanes()
    const flows = [flow('a'), flow('b', 2), flow('c', 4)]
    for (const each of flows) for (let count = 0; count < 400; count++) await queue.admit(each, draw(...large))
    const servedTokens = new Map(flows.map((each) => [each, 0]))
    for (let count = 0; count < 400; count++) {
      const { flow: of, tokens } = await queue.serve()
      servedTokens.set(of, (servedTokens.get(of) ?? 0) + tokens)
    }
    const total = [...servedTokens.values()].reduce((sum, tokens) => sum + tokens, 0)
    for (const [{ weightMilli }, tokens] of servedTokens) {
      expect(Math.abs(tokens / total / (weightMilli / 7_000) - 1)).toBeLessThan(0.05)
    }
  })
})

describe('a tier', () => {
  const jobTokens = 16_384
  const headStartJobs = tierHeadStartTokens / jobTokens

  it('lets priority pass what waits, and flex wait for it', async () => {
    const queue = lanes()
    for (const tier of ['flex', 'default', 'priority'] as const) {
      await queue.admit(flow(`one-${tier}`, 1, tier), jobTokens)
      await queue.admit(flow(`two-${tier}`, 1, tier), jobTokens)
    }
    const order = []
    while (queue.waiting.length > 0) order.push((await queue.serve()).flow.tier)
    expect(order).toEqual(['priority', 'priority', 'default', 'default', 'flex', 'flex'])
  })

  it.each([
    ['default', 1],
    ['flex', 2],
    ['batch', 4],
  ] as const)(
    'is a head start, not a rank: a %s job begins after %d head starts of better jobs',
    async (tier, count) => {
      const queue = lanes()
      const flood = flow('flood', 1, 'priority')
      for (let jobs = 0; jobs < 2; jobs++) await queue.admit(flood, jobTokens)
      const late = await queue.admit(flow('late', 1, tier), jobTokens)
      let passed = 0
      for (let served = await queue.serve(); served.jobId !== late.jobId; served = await queue.serve()) {
        passed += 1
        await queue.admit(flood, jobTokens)
      }
      expect(passed).toBe(count * headStartJobs)
    },
  )

  it('lets no flex job begin while default jobs wait that are not a head start younger', async () => {
    const queue = lanes()
    const flows = [flow('a', 1, 'default'), flow('a', 1, 'flex'), flow('b')]
    for (const each of flows) for (let jobs = 0; jobs < 60; jobs++) await queue.admit(each, jobTokens)
    const order = []
    for (let count = 0; count < 2 * headStartJobs; count++) order.push((await queue.serve()).flow)
    expect(order.filter((each) => each === flows[1])).toEqual([])
  })

  /** Of all that is served while tenant `a` waits in three tiers and `b` in one: what `a` gets. */
  async function shareOfThreeTiers(scripts?: JobScripts): Promise<number> {
    const queue = lanes(scripts)
    const flows = [flow('a', 1, 'priority'), flow('a', 1, 'default'), flow('a', 1, 'flex'), flow('b')]
    // Each waits with as much as lies between the first tier and the last.
    for (const each of flows) for (let jobs = 0; jobs < 2 * headStartJobs; jobs++) await queue.admit(each, jobTokens)
    let ofA = 0
    const [warmUp, measured] = [250, 400]
    for (let count = -warmUp; count < measured; count++) {
      const { flow: of, tokens } = await queue.serve()
      if (count >= 0 && of.tenantId === 'a') ofA += 1
      await queue.admit(of, tokens, jobTokens / 2)
    }
    return ofA / measured
  }

  it('gives a tenant no second share: in three tiers it gets what it would in one', async () => {
    expect(Math.abs((await shareOfThreeTiers()) - 1 / 2)).toBeLessThan(0.05)
  })

  it('would give it one for each tier, if tiers did not owe each other what they were served', async () => {
    const scripts = scriptsWithout(bench, 'fair', 'tag + amount', 'tag')
    expect(await shareOfThreeTiers(scripts)).toBeGreaterThan(0.7)
  })
})

describe('what a job was charged', () => {
  it('is corrected at its end: who used more than expected waits longer, who used less waits less', async () => {
    const queue = lanes()
    const [modest, greedy] = [flow('modest'), flow('greedy')]
    const busy = flow('busy')
    for (let count = 0; count < 30; count++) await queue.admit(busy, 1_000)
    // Both are charged for 1,000 tokens; one turns out to use 9,000, the other 100.
    await queue.admit(greedy, 9_000, 1_000)
    await queue.admit(modest, 100, 1_000)
    for (let count = 0; count < 4; count++) await queue.serve()
    const [ofGreedy, ofModest] = [await queue.admit(greedy, 1_000), await queue.admit(modest, 1_000)]
    expect(ofGreedy.priority - ofModest.priority).toBeGreaterThan(7_000 / tokensPerPriority)
  })
})
