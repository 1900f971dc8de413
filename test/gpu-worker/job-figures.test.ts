/** What a job adds to its worker's figures, by a clock of the test's own. */
import { describe, expect, it } from 'vitest'
import type { JobRecord } from '../../contract/job.ts'
import { WorkerFigures } from '../../gpu-worker/figures.ts'
import { JobFigures } from '../../gpu-worker/job-figures.ts'
import { admissionOf } from '../fixtures/job-desk.ts'

let nowMs = 0
const clockMs = () => nowMs

/** Claimed 3 s after its admission, at 0 of the worker's clock; Redis's clock is another one. */
function claimedJob(figures: WorkerFigures, changes: Partial<JobRecord> = {}): JobFigures {
  nowMs = 0
  const { jobId, tenantId, model, seed, request } = admissionOf()
  const record: JobRecord = {
    id: jobId,
    status: 'running',
    tenantId,
    model,
    lane: 0,
    priority: 1,
    tier: 'default',
    seed,
    epoch: 1,
    entryCount: 0,
    admittedAtMs: 1e12,
    claimedAtMs: 1e12 + 3_000,
    isCancelled: false,
    request,
    ...changes,
  }
  return new JobFigures(figures, clockMs, record)
}

function at(ms: number, step: () => void): void {
  nowMs = ms
  step()
}

/** An answer of three tokens. */
function answer(job: JobFigures): void {
  at(500, () => job.start(40, 32))
  at(700, () => job.token())
  at(750, () => job.token())
  at(950, () => job.token())
  at(1_000, () => job.end('completed', 40, 3))
}

/** Sums in ms or tokens, by name. */
function sums(figures: WorkerFigures): Record<string, number> {
  const { histograms } = figures.snapshot()
  return Object.fromEntries(
    Object.entries(histograms).map(([name, { sum }]) => [name, name.endsWith('_tokens') ? sum : Math.round(sum * 1e3)]),
  )
}

describe('JobFigures', () => {
  it('times an answer from its admission, the wait by the clock of Redis', () => {
    const figures = new WorkerFigures()
    answer(claimedJob(figures))
    expect(sums(figures)).toEqual({
      request_queue_time_seconds: 3_500,
      time_to_first_token_seconds: 3_700,
      request_prefill_time_seconds: 200,
      inter_token_latency_seconds: 250,
      request_decode_time_seconds: 250,
      e2e_request_latency_seconds: 4_000,
      request_prompt_tokens: 40,
      request_generation_tokens: 3,
    })
    expect(figures.snapshot().counters).toMatchObject({
      prompt_tokens: 40,
      prefix_cache_queries: 40,
      prefix_cache_hits: 32,
      generation_tokens: 3,
      'request_success:stop': 1,
    })
  })

  it('leaves out what began before a takeover, and counts no token twice', () => {
    const figures = new WorkerFigures()
    const job = claimedJob(figures, { epoch: 2 })
    at(10, () => job.start(40, 0))
    at(20, () => job.token())
    at(30, () => job.end('incomplete', 40, 9))
    const { counters, histograms } = figures.snapshot()
    const counts = Object.entries(histograms).map(([name, { counts: of }]) => [name, of.reduce((a, b) => a + b)])
    expect(Object.fromEntries(counts)).toEqual({
      request_queue_time_seconds: 0,
      time_to_first_token_seconds: 0,
      e2e_request_latency_seconds: 0,
      request_prefill_time_seconds: 1,
      inter_token_latency_seconds: 0,
      request_decode_time_seconds: 1,
      request_prompt_tokens: 1,
      request_generation_tokens: 1,
    })
    expect(counters).toMatchObject({ generation_tokens: 1, 'request_success:length': 1 })
  })

  it('counts a wait as none where the clock of Redis went back during it', () => {
    const figures = new WorkerFigures()
    const job = claimedJob(figures, { claimedAtMs: 1e12 - 3_600_000 })
    at(100, () => job.start(1, 0))
    expect(sums(figures)).toMatchObject({ request_queue_time_seconds: 100 })
  })

  it.each([
    ['cancelled', 'abort'],
    ['failed', 'error'],
    ['expired', 'error'],
  ] as const)('counts an end as %s under %s', (status, reason) => {
    const figures = new WorkerFigures()
    claimedJob(figures).end(status, 1, 0)
    expect(figures.snapshot().counters[`request_success:${reason}`]).toBe(1)
  })
})

describe('WorkerFigures', () => {
  it('puts a value that equals a bound below it, and one beyond the last into the last bucket', () => {
    const figures = new WorkerFigures()
    figures.observe('request_prompt_tokens', 1)
    figures.observe('request_prompt_tokens', 2)
    figures.observe('request_prompt_tokens', 1e9)
    const { counts, bounds } = figures.snapshot().histograms['request_prompt_tokens'] ?? { counts: [], bounds: [] }
    expect(counts).toHaveLength(bounds.length + 1)
    expect([counts[0], counts[1], counts.at(-1)]).toEqual([1, 1, 1])
  })

  it('gives snapshots that do not change any more', () => {
    const figures = new WorkerFigures()
    const before = figures.snapshot()
    figures.count('prompt_tokens', 5)
    expect(before.counters['prompt_tokens']).toBe(0)
  })
})
