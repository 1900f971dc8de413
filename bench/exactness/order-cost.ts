/**
 * What the order contract costs end to end: the engine over axk1-tiny against the same over kernels without an order, both
 * by the kernels for CPU adapters.
 *
 * Engines take turns step by step, so that all of them see the same machine; a figure is the ratio of lower quartiles. (The
 * fastest of some rounds told of the machine: −6 … 10 % where this finds 0 … 2.) Of the free orders the fastest counts, in each
 * case anew.
 */
import assert from 'node:assert/strict'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { freeOrder, straightOrder } from './free-order.ts'
import { modelDir } from './proof.ts'
import { percentile } from '../report.ts'

export interface OrderCost {
  readonly name: string
  readonly contractMs: number
  readonly freeMs: number
  /** How much more the contract takes than the free order. */
  readonly percent: number
}

interface Case {
  readonly name: string
  readonly streams: number
  readonly promptTokens: number
  readonly answerTokens: number
}

const cases: readonly Case[] = [
  { name: 'decode, 1 stream', streams: 1, promptTokens: 200, answerTokens: 64 },
  { name: 'decode, 8 streams', streams: 8, promptTokens: 200, answerTokens: 64 },
  { name: 'decode, 32 streams', streams: 32, promptTokens: 200, answerTokens: 32 },
  { name: 'prefill of 512 tokens', streams: 1, promptTokens: 512, answerTokens: 1 },
]
const rounds = 5
const prefillRounds = 16
/** Of a prompt: all streams begin alike, so that few rows are to be prefilled. */
const sharedTokens = 160
const orders = [undefined, freeOrder, straightOrder] as const

/** Of every case. */
export async function orderCost(): Promise<OrderCost[]> {
  const runners: ModelRunner[] = []
  try {
    for (const alterDispatch of orders) {
      const shape = { checkpoint: modelDir, sequencesMax: 32, processor: 'cpu' } as const
      runners.push((await loadRunner({ ...shape, ...(alterDispatch && { alterDispatch }) })).runner)
    }
    const costs: OrderCost[] = []
    for (const one of cases) {
      const [contractMs = NaN, ...free] = await timesMs(runners, one)
      const freeMs = Math.min(...free)
      costs.push({ name: one.name, contractMs, freeMs, percent: 100 * (contractMs / freeMs - 1) })
    }
    return costs
  } finally {
    for (const runner of runners) await runner.close()
  }
}

/** Of each Runner: a step of the case's decodes, or all of its prefill. */
async function timesMs(runners: readonly ModelRunner[], one: Case): Promise<number[]> {
  const lanes = runners.map((runner) => ({ engine: new Engine(runner), prefillsMs: newTimes(), stepsMs: newTimes() }))
  const isDecode = one.answerTokens > 1
  for (let round = 0; round < (isDecode ? rounds : prefillRounds); round++) {
    const firstTokens: number[][] = []
    for (const { engine, prefillsMs } of lanes) {
      submitAll(engine, one)
      const startedMs = performance.now()
      firstTokens.push(await firstTokensOf(engine, one.streams))
      prefillsMs.push(performance.now() - startedMs)
    }
    for (const tokens of firstTokens) {
      assert.deepEqual(tokens, firstTokens[0], 'In any order of sums it is the same model')
    }
    while (lanes.some(({ engine }) => engine.hasWork)) {
      for (const { engine, stepsMs } of lanes) {
        const startedMs = performance.now()
        await engine.step()
        stepsMs.push(performance.now() - startedMs)
      }
    }
  }
  return lanes.map(({ prefillsMs, stepsMs }) => percentile(isDecode ? stepsMs : prefillsMs, 0.25))
}

function newTimes(): number[] {
  return []
}

/** Decodes share what they can of their prompts; a prefill is computed whole each time. */
function submitAll(engine: Engine, { streams, promptTokens, answerTokens }: Case): void {
  for (let stream = 0; stream < streams; stream++) {
    const own = (i: number): number => (i < sharedTokens ? 0 : stream * 97)
    const submission = engine.submit({
      id: `${stream}`,
      promptTokenIds: Array.from({ length: promptTokens }, (_, i) => (own(i) + i * 31) % 1000),
      sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
      stopTokenIds: [],
      answerTokensMax: answerTokens,
      ...(answerTokens > 1 ? { tenantId: 'one' } : {}),
    })
    assert.equal(submission.kind, 'accepted')
  }
}

/** Steps until every stream has its first token. */
async function firstTokensOf(engine: Engine, streams: number): Promise<number[]> {
  const tokens = new Map<string, number>()
  while (tokens.size < streams) {
    for (const event of await engine.step()) {
      if (event.kind === 'token' && event.index === 0) tokens.set(event.id, event.tokenId)
    }
  }
  return Array.from({ length: streams }, (_, stream) => tokens.get(`${stream}`) ?? -1)
}
