/** Time to first token on a simulated clock: the engine and its fake Runner driven directly. It judges nothing. */
import assert from 'node:assert/strict'
import { Engine, type EngineOptions } from '../../gpu-worker/engine/engine.ts'
import { FakeRunner } from '../../test/fake-runner.ts'
import type { Arrival } from './arrivals.ts'
import { limits, stepMs } from './step-model.ts'

/** Of no request twice the same: nothing is shared. */
const vocabSize = 1_000

/** By arrival: from arrival to first token, ms of the simulated clock. At most `waitingCountMax` wait in the engine. */
export async function firstTokenMs(
  arrivals: readonly Arrival[],
  options: EngineOptions,
  waitingCountMax = Infinity,
): Promise<number[]> {
  let nowMs = 0
  const wait = async (ms: number) => {
    nowMs += ms
  }
  const runner = new FakeRunner({ limits, stepMs, wait })
  const engine = new Engine(runner, options)
  const samples: number[] = []
  for (let next = 0; next < arrivals.length || engine.hasWork;) {
    for (; engine.stats().waitingCount < waitingCountMax; next += 1) {
      const arrival = arrivals[next]
      if (arrival === undefined || arrival.atMs > nowMs) break
      const { atMs: arrivedMs, promptTokens, answerTokensMax } = arrival
      const promptTokenIds = Array.from({ length: promptTokens }, (_, at) => 1 + ((next + at) % vocabSize))
      const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, next] } as const
      engine.submit({ id: `${next}`, promptTokenIds, answerTokensMax, arrivedMs, sampling, stopTokenIds: [] })
    }
    if (!engine.hasWork) nowMs = arrivals[next]?.atMs ?? nowMs
    for (const event of await engine.step(nowMs)) {
      if (event.kind === 'token' && event.index === 0)
        samples[Number(event.id)] = nowMs - (arrivals[Number(event.id)]?.atMs ?? 0)
    }
  }
  assert.equal(samples.filter((ms) => ms > 0).length, arrivals.length, 'A request has no first token')
  await runner.close()
  return samples
}
