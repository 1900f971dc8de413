/**
 * What a worker counted since its process began: plain counters and histograms, told to everyone with each heartbeat.
 *
 * It has no clock and does not know what happened: whoever counts says how much, in seconds or tokens. The names are
 * vLLM's without their prefix, and the bounds follow vLLM's, so that its dashboards fit.
 */
import type { Figures } from '../contract/heartbeat.ts'

const latencySeconds = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960] as const
const tokenCounts = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
] as const
const firstTokenSeconds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
] as const
const nextTokenSeconds = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40, 80,
] as const

export type HistogramName =
  | 'time_to_first_token_seconds'
  | 'inter_token_latency_seconds'
  | 'e2e_request_latency_seconds'
  | 'request_queue_time_seconds'
  | 'request_prefill_time_seconds'
  | 'request_decode_time_seconds'
  | 'request_prompt_tokens'
  | 'request_generation_tokens'
export type CounterName =
  | 'prompt_tokens'
  | 'generation_tokens'
  | 'prefix_cache_queries'
  | 'prefix_cache_hits'
  /** The reason stands behind the colon. */
  | `request_success:${FinishedReason}`
export type FinishedReason = 'stop' | 'length' | 'abort' | 'error'

export class WorkerFigures {
  /** All begin at 0: a counter that appears with its first step hides it. */
  readonly #counters: Record<CounterName, number> = {
    prompt_tokens: 0,
    generation_tokens: 0,
    prefix_cache_queries: 0,
    prefix_cache_hits: 0,
    'request_success:stop': 0,
    'request_success:length': 0,
    'request_success:abort': 0,
    'request_success:error': 0,
  }
  readonly #histograms = {
    time_to_first_token_seconds: emptyHistogram(firstTokenSeconds),
    inter_token_latency_seconds: emptyHistogram(nextTokenSeconds),
    e2e_request_latency_seconds: emptyHistogram(latencySeconds),
    request_queue_time_seconds: emptyHistogram(latencySeconds),
    request_prefill_time_seconds: emptyHistogram(latencySeconds),
    request_decode_time_seconds: emptyHistogram(latencySeconds),
    request_prompt_tokens: emptyHistogram(tokenCounts),
    request_generation_tokens: emptyHistogram(tokenCounts),
  } satisfies Record<HistogramName, OneHistogram>

  count(name: CounterName, added = 1): void {
    this.#counters[name] += added
  }

  /** @param value seconds or tokens, as the name says. */
  observe(name: HistogramName, value: number): void {
    const histogram = this.#histograms[name]
    const bucket = histogram.bounds.findIndex((bound) => value <= bound)
    const index = bucket === -1 ? histogram.bounds.length : bucket
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1
    histogram.sum += value
  }

  /** Shares nothing with what is counted on. */
  snapshot(): Figures {
    return structuredClone({ counters: this.#counters, histograms: this.#histograms })
  }
}

interface OneHistogram {
  readonly bounds: number[]
  readonly counts: number[]
  sum: number
}

function emptyHistogram(bounds: readonly number[]): OneHistogram {
  return { bounds: [...bounds], counts: Array.from({ length: bounds.length + 1 }, () => 0), sum: 0 }
}
