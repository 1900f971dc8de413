/**
 * What one job adds to its worker's figures, from the claim to its end.
 *
 * It does not know why a job ends. The clock it is given only runs forward; how long a job waited before comes from
 * Redis, whose clock it is, so that a worker whose own clock is wrong counts right all the same.
 */
import type { EndStatus, JobRecord } from '../contract/job.ts'
import type { FinishedReason, HistogramName, WorkerFigures } from './figures.ts'

const reasons: Readonly<Record<EndStatus, FinishedReason>> = {
  completed: 'stop',
  incomplete: 'length',
  cancelled: 'abort',
  failed: 'error',
  expired: 'error',
}

export class JobFigures {
  readonly #figures: WorkerFigures
  readonly #clockMs: () => number
  readonly #claimedMs: number
  /** From admission to the claim. Null when another worker had the job: what passed since is not known here. */
  readonly #waitedMs: number | null
  #startedMs: number | null = null
  #firstTokenMs: number | null = null
  #lastTokenMs: number | null = null

  /** Made when the job has been claimed. @param clockMs ms, monotonic. */
  constructor(figures: WorkerFigures, clockMs: () => number, { epoch, admittedAtMs, claimedAtMs }: JobRecord) {
    this.#figures = figures
    this.#clockMs = clockMs
    this.#claimedMs = clockMs()
    this.#waitedMs = epoch === 1 ? Math.max(0, claimedAtMs - admittedAtMs) : null
  }

  start(promptTokens: number, cachedTokens: number): void {
    this.#startedMs = this.#clockMs()
    this.#figures.count('prompt_tokens', promptTokens)
    this.#figures.count('prefix_cache_queries', promptTokens)
    this.#figures.count('prefix_cache_hits', cachedTokens)
    this.#sinceAdmission('request_queue_time_seconds', this.#startedMs)
  }

  token(): void {
    const nowMs = this.#clockMs()
    this.#figures.count('generation_tokens')
    if (this.#lastTokenMs === null) {
      this.#firstTokenMs = nowMs
      this.#sinceAdmission('time_to_first_token_seconds', nowMs)
      if (this.#startedMs !== null) this.#between('request_prefill_time_seconds', this.#startedMs, nowMs)
    } else this.#between('inter_token_latency_seconds', this.#lastTokenMs, nowMs)
    this.#lastTokenMs = nowMs
  }

  /** @param answerTokens of the whole answer, other workers' included. */
  end(status: EndStatus, promptTokens: number, answerTokens: number): void {
    this.#figures.count(`request_success:${reasons[status]}`)
    this.#figures.observe('request_prompt_tokens', promptTokens)
    this.#figures.observe('request_generation_tokens', answerTokens)
    this.#sinceAdmission('e2e_request_latency_seconds', this.#clockMs())
    if (this.#firstTokenMs !== null && this.#lastTokenMs !== null)
      this.#between('request_decode_time_seconds', this.#firstTokenMs, this.#lastTokenMs)
  }

  #sinceAdmission(name: HistogramName, nowMs: number): void {
    if (this.#waitedMs !== null) this.#figures.observe(name, (this.#waitedMs + nowMs - this.#claimedMs) / 1_000)
  }

  #between(name: HistogramName, fromMs: number, toMs: number): void {
    this.#figures.observe(name, (toMs - fromMs) / 1_000)
  }
}
