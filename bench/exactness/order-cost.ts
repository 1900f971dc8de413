/**
 * What the order contract costs end to end: the engine over axk1-tiny against the same over kernels without an order, both
 * by the kernels for CPU adapters.
 *
 * Rounds alternate, and a figure is the ratio of the fastest: on a shared machine slow rounds tell of others. Of the free
 * orders the fastest counts, in each case anew.
 */
import assert from 'node:assert/strict'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { freeOrder, straightOrder } from './free-order.ts'
import { modelDir } from './proof.ts'

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
  { name: 'decode, 8 streams', streams: 8, promptTokens: 200, answerTokens: 48 },
  { name: 'decode, 32 streams', streams: 32, promptTokens: 200, answerTokens: 24 },
  { name: 'prefill of 512 tokens', streams: 1, promptTokens: 512, answerTokens: 1 },
]
const rounds = 12
/** Of a prompt: all streams begin alike, so that few rows are to be prefilled. */
const sharedTokens = 160
const orders = [undefined, freeOrder, straightOrder] as const

/** Of every case. */
export async function orderCost(): Promise<OrderCost[]> {
  const runners: ModelRunner[] = []
  try {
    for (const alterDispatch of orders) {
      const shape = {
        checkpoint: modelDir,
        sequencesMax: 32,
        processor: 'cpu',
        ...(alterDispatch && { alterDispatch }),
      } as const
      runners.push((await loadRunner(shape)).runner)
    }
    const costs: OrderCost[] = []
    for (const one of cases) {
      const [contractMs = NaN, ...free] = await fastestMs(runners, one)
      const freeMs = Math.min(...free)
      costs.push({ name: one.name, contractMs, freeMs, percent: 100 * (contractMs / freeMs - 1) })
    }
    return costs
  } finally {
    for (const runner of runners) await runner.close()
  }
}

/** Of each Runner, in rounds that take turns after one that warms up. */
async function fastestMs(runners: readonly ModelRunner[], one: Case): Promise<number[]> {
  const engines = runners.map((runner) => new Engine(runner))
  const fastest = runners.map(() => Infinity)
  let expected: readonly number[] | null = null
  for (let round = 0; round <= rounds; round++) {
    for (const [at, engine] of engines.entries()) {
      const { ms, firstTokens } = await timeOf(engine, one)
      expected ??= firstTokens
      assert.deepEqual(firstTokens, expected, 'In any order of sums it is the same model')
      if (round > 0) fastest[at] = Math.min(fastest[at] ?? Infinity, ms)
    }
  }
  return fastest
}

interface Timed {
  /** From the last first token to the last token; of a single token, from the start. */
  readonly ms: number
  /** By stream. */
  readonly firstTokens: readonly number[]
}

/** Of decodes, prompts are in the cache from the second round on, and mostly before. */
async function timeOf(engine: Engine, { streams, promptTokens, answerTokens }: Case): Promise<Timed> {
  const isDecode = answerTokens > 1
  for (let stream = 0; stream < streams; stream++) {
    const submission = engine.submit({
      id: `${stream}`,
      promptTokenIds: Array.from(
        { length: promptTokens },
        (_, i) => ((i < sharedTokens ? 0 : stream * 97) + i * 31) % 1000,
      ),
      sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
      stopTokenIds: [],
      answerTokensMax: answerTokens,
      ...(isDecode ? { tenantId: 'one' } : {}),
    })
    assert.equal(submission.kind, 'accepted')
  }
  let startedMs = performance.now()
  const firstTokens = new Map<string, number>()
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind !== 'token' || event.index > 0) continue
      firstTokens.set(event.id, event.tokenId)
      if (firstTokens.size === streams && isDecode) startedMs = performance.now()
    }
  }
  const ms = performance.now() - startedMs
  return { ms, firstTokens: Array.from({ length: streams }, (_, stream) => firstTokens.get(`${stream}`) ?? -1) }
}
