/**
 * What the order contract costs end to end: the engine over axk1-tiny against the same over the free order's kernels.
 *
 * Rounds alternate, and a figure is the ratio of the fastest: on a shared machine slow rounds tell of others.
 */
import assert from 'node:assert/strict'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { freeOrder } from './free-order.ts'
import { modelDir } from './proof.ts'

export interface OrderCost {
  readonly name: string
  /** Of the free order's time: how much more the contract takes. */
  readonly percent: number
  readonly contractMs: number
  readonly freeMs: number
}

interface Case {
  readonly name: string
  readonly streams: number
  readonly promptTokens: number
  readonly answerTokens: number
}

const cases: readonly Case[] = [
  { name: 'decode, 1 stream', streams: 1, promptTokens: 180, answerTokens: 40 },
  { name: 'decode, 8 streams', streams: 8, promptTokens: 180, answerTokens: 40 },
  { name: 'decode, 32 streams', streams: 32, promptTokens: 180, answerTokens: 40 },
  { name: 'prefill of 1,024 tokens', streams: 1, promptTokens: 1024, answerTokens: 1 },
]
const rounds = 5

/** Of every case. */
export async function orderCost(): Promise<OrderCost[]> {
  const contract = await loadRunner({ checkpoint: modelDir, sequencesMax: 32 })
  const free = await loadRunner({ checkpoint: modelDir, sequencesMax: 32, alterDispatch: freeOrder })
  try {
    const costs: OrderCost[] = []
    for (const one of cases) {
      const times = { contractMs: Infinity, freeMs: Infinity }
      for (let round = 0; round < rounds; round++) {
        times.contractMs = Math.min(times.contractMs, await timeOf(contract.runner, one))
        times.freeMs = Math.min(times.freeMs, await timeOf(free.runner, one))
      }
      costs.push({ name: one.name, ...times, percent: 100 * (times.contractMs / times.freeMs - 1) })
    }
    return costs
  } finally {
    await contract.runner.close()
    await free.runner.close()
  }
}

/** Milliseconds from the last first token to the last token; of a single token, from the start. */
async function timeOf(runner: Runner, { streams, promptTokens, answerTokens }: Case): Promise<number> {
  const engine = new Engine(runner)
  for (let stream = 0; stream < streams; stream++) {
    const submission = engine.submit({
      id: `${stream}`,
      promptTokenIds: Array.from({ length: promptTokens }, (_, i) => (stream * 97 + i * 31) % 1000),
      sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
      stopTokenIds: [],
      answerTokensMax: answerTokens,
    })
    assert.equal(submission.kind, 'accepted')
  }
  let startedMs = performance.now()
  for (let waiting = streams; engine.hasWork;) {
    for (const event of await engine.step()) {
      if (event.kind !== 'token' || event.index > 0) continue
      waiting -= 1
      if (waiting === 0 && answerTokens > 1) startedMs = performance.now()
    }
  }
  return performance.now() - startedMs
}
