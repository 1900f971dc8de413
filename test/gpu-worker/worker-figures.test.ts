/** What a worker says of its work, in the heartbeat that everyone reads; and that its own wall clock is in none of it. */
import { describe, expect, it } from 'vitest'
import { decodeHeartbeat, type Figures } from '../../contract/heartbeat.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { WorkerBench } from '../fixtures/worker-bench.ts'

const bench = WorkerBench.forThisFile()
const timings = { heartbeatMs: 20 }
const hourMs = 3_600_000

describe('the figures in a heartbeat', () => {
  it('count every token, prompt and end; the warm-up is none of them', async () => {
    await bench.start({ stopIndex: ([seed]) => (seed === undefined ? null : 5) }, { timings })
    const messages = [{ role: 'user' as const, content: 'Tell me of a long and winding road. '.repeat(4) }]
    const first = await bench.desk.ask({ request: { messages } })
    const second = await bench.outcomeOf(first).then(() => bench.desk.ask({ request: { messages, maxTokens: 3 } }))
    const ends = [(await bench.outcomeOf(first)).end, (await bench.outcomeOf(second)).end]
    const figures = await figuresWith((counters) => counters['request_success:length'] === 1)
    const promptTokens = ends.reduce((sum, { usage }) => sum + usage.promptTokens, 0)
    expect(figures.counters).toEqual({
      prompt_tokens: promptTokens,
      prefix_cache_queries: promptTokens,
      prefix_cache_hits: ends[1]?.usage.cachedTokens,
      generation_tokens: 6 + 3,
      num_preemptions: 0,
      'request_success:stop': 1,
      'request_success:length': 1,
      'request_success:abort': 0,
      'request_success:error': 0,
    })
    expect(ends[1]?.usage.cachedTokens).toBeGreaterThan(0)
    expect(countOf(figures, 'inter_token_latency_seconds')).toBe(5 + 2)
    expect(countOf(figures, 'time_to_first_token_seconds')).toBe(2)
  })

  it('count a job that cannot begin as an error', async () => {
    await bench.start({}, { timings })
    await bench.outcomeOf(await bench.desk.ask({ model: 'another' }))
    const { counters } = await figuresWith((of) => of['request_success:error'] === 1)
    expect(counters['prompt_tokens']).toBe(0)
  })
})

describe("case 42: a worker's wall clock", () => {
  const tenMinutesMs = 600_000

  it.each([0, tenMinutesMs, -tenMinutesMs])(
    '%i ms off changes neither the order of jobs nor their times',
    async (errorMs) => {
      const { desk } = bench
      const nowMs = () => Date.now() + errorMs
      await bench.start({ limits: { sequencesMax: 2 }, stepMs: () => 5 }, { nowMs, timings })
      // While two run a long and a short one wait: the short one is first, unless both seem to be overdue.
      const running = [await desk.ask({ request: { maxTokens: 150 } }), await desk.ask({ request: { maxTokens: 300 } })]
      for (const jobId of running) await desk.tokens(jobId, 1)
      const messages = [{ role: 'user' as const, content: 'word '.repeat(150) }]
      const long = await desk.ask({ request: { messages, maxTokens: 3 } })
      await held(3)
      const short = await desk.ask({ request: { maxTokens: 3 } })
      for (const jobId of [...running, long, short]) await bench.outcomeOf(jobId)
      expect(firstTokenAtMs(short)).toBeLessThan(firstTokenAtMs(long))
      const { histograms } = await figuresWith((counters) => counters['request_success:length'] === 4)
      expect(histograms['e2e_request_latency_seconds']?.sum).toBeGreaterThan(0)
      expect(histograms['e2e_request_latency_seconds']?.sum).toBeLessThan(20)
    },
  )

  it('may jump back by an hour, and jobs run on', async () => {
    let errorMs = 0
    const nowMs = () => Date.now() + errorMs
    await bench.start({ stepMs: () => 2 }, { nowMs, timings })
    const before = await bench.desk.ask({ request: { maxTokens: 40 } })
    await bench.desk.tokens(before, 5)
    errorMs = -hourMs
    const after = await bench.desk.ask({ request: { maxTokens: 5 } })
    const ends = [await bench.outcomeOf(before), await bench.outcomeOf(after)]
    expect(ends.map(({ tokenIds }) => tokenIds.length)).toEqual([40, 5])
  })
})

function firstTokenAtMs(jobId: JobId): number {
  const position = bench.desk.live(jobId).findIndex(({ entry }) => entry.kind === 'token')
  return bench.desk.arrivals(jobId)[position] ?? Infinity
}

/** Resolves when the worker holds so many jobs. */
async function held(count: number): Promise<void> {
  while ((await bench.desk.queue(0).getActiveCount()) < count);
}

/** The next heartbeat's whose counters are so; the test's own time bounds the wait. */
async function figuresWith(isIt: (counters: Figures['counters']) => boolean): Promise<Figures> {
  for (;;) {
    const { figures } = decodeHeartbeat((await bench.desk.redis.get(keys.worker('w1'))) ?? '')
    if (figures !== undefined && isIt(figures.counters)) return figures
  }
}

function countOf({ histograms }: Figures, name: string): number {
  return (histograms[name]?.counts ?? []).reduce((sum, count) => sum + count, 0)
}
