/**
 * Time to first token through the queue: jobs admitted as the Broker admits them, a real worker's window over a private
 * Redis, the real clock. Steps are the fake Runner's, so that both orders meet the same GPU. It judges nothing.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { decodeLiveMessage } from '../../contract/event.ts'
import { channels } from '../../contract/keys.ts'
import type { AgeCapsMs } from '../../gpu-worker/engine/admission.ts'
import type { ModelText } from '../../gpu-worker/model/model-text.ts'
import { startWorker } from '../../gpu-worker/worker.ts'
import { FakeRunner } from '../../test/fake-runner.ts'
import { fakeVocabulary } from '../../test/fixtures/fake-gpu-worker.ts'
import { JobDesk, shard } from '../../test/fixtures/job-desk.ts'
import { startRedis } from '../../test/fixtures/redis.ts'
import type { Arrival } from './arrivals.ts'
import { limits, prefillRowsMax, stepMs } from './step-model.ts'

/** Of the last arrival, with everything before it. */
const deadlineMs = 180_000

/** By arrival: from asking to the first token's message, ms. */
export async function firstTokenMsEndToEnd(
  text: ModelText,
  arrivals: readonly Arrival[],
  ageCapsMs?: AgeCapsMs,
): Promise<number[]> {
  const server = await startRedis()
  try {
    const desk = await JobDesk.open(server)
    const runner = new FakeRunner({ vocabulary: fakeVocabulary, limits, stepMs, wait: (ms) => delay(ms) })
    const worker = await startWorker({
      runner,
      text,
      redisUrl: server.url,
      workerId: 'ordering',
      instanceId: 'ordering-1',
      modelAliases: [],
      adapter: 'none',
      laneCount: 1,
      prefillRowsMax,
      ...(ageCapsMs && { ageCapsMs }),
      log: pino({ level: 'silent' }),
      nowMs: Date.now,
    })
    try {
      const askedAtMs = new Map<string, number>()
      const heardAtMs = new Map<string, number>()
      const { promise: all, resolve, reject } = Promise.withResolvers<void>()
      const live = server.connect()
      live.on('message', (_channel: string, message: string) => {
        const { jobId, event } = decodeLiveMessage(message)
        if (event.entry.kind !== 'token' || heardAtMs.has(jobId)) return
        heardAtMs.set(jobId, performance.now())
        if (heardAtMs.size === arrivals.length) resolve()
      })
      await live.subscribe(channels.live(shard))
      const startedMs = performance.now()
      for (const [index, { atMs, promptTokens, answerTokensMax }] of arrivals.entries()) {
        await delay(Math.max(0, atMs - (performance.now() - startedMs)))
        const askedMs = performance.now()
        const content = contentOf(text, index, promptTokens)
        const request = { messages: [{ role: 'user' as const, content }], maxTokens: answerTokensMax }
        askedAtMs.set(await desk.ask({ request, fairTokens: promptTokens + answerTokensMax }), askedMs)
      }
      const late = setTimeout(() => reject(new Error(`${heardAtMs.size} of ${arrivals.length} began`)), deadlineMs)
      await all.finally(() => clearTimeout(late))
      return [...askedAtMs].map(([jobId, askedMs]) => {
        const heardMs = heardAtMs.get(jobId)
        assert(heardMs !== undefined, 'Every job had a first token')
        return heardMs - askedMs
      })
    } finally {
      await worker.stop()
    }
  } finally {
    await server.stop()
  }
}

/** The prompt tokens of a message without words. */
export function templateTokens(text: ModelText): number {
  return text.promptTokens({ messages: [{ role: 'user', content: '' }], think: false }).length
}

/** A message whose prompt has about so many tokens and whose beginning no other has. */
function contentOf(text: ModelText, index: number, promptTokens: number): string {
  const name = `${index}`
  const words = Math.max(0, promptTokens - templateTokens(text) - name.length)
  return name + ' a'.repeat(words)
}
