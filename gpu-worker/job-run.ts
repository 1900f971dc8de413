/**
 * One claimed job on its way through the engine: tokens become log entries, the engine's end becomes the job's.
 *
 * It does not know BullMQ, its locks, or its batch-mates. Whatever goes wrong here ends this job alone.
 */
import assert from 'node:assert/strict'
import type { Logger } from 'pino'
import { AppError, type ErrorFacts } from '../contract/errors.ts'
import type { EndStatus, JobRecord } from '../contract/job.ts'
import type { Ending, JobScripts } from '../contract/scripts.ts'
import type { AnswerEnd } from './answer-stream.ts'
import type { TokenLogProb } from './engine/runner.ts'
import type { EndReason, ServiceClass } from './engine/sequence.ts'
import type { EngineLoop, SequenceOwner } from './engine-loop.ts'
import { withoutContent } from './error-content.ts'
import { EventSink } from './event-sink.ts'
import type { WorkerFigures } from './figures.ts'
import type { JobFigures } from './job-figures.ts'
import type { JobPlan } from './job-plan.ts'
import { chancesOf } from './token-chances.ts'

export type JobOutcome =
  | { readonly kind: 'ended'; readonly status: EndStatus }
  /** Another worker or the janitor has the job now. */
  | { readonly kind: 'fenced' }
  /** Its log would not take what we have: a bug, and its next worker's turn. */
  | { readonly kind: 'abandoned' }
  /** The engine was drained before the job's turn came: it goes back to its lane. */
  | { readonly kind: 'handed-back' }

export interface JobRunContext {
  readonly loop: EngineLoop
  readonly scripts: JobScripts
  readonly log: Logger
  readonly fingerprint: string
  readonly redisDeadlineMs: number
  readonly figures: WorkerFigures
  /** Monotonic, ms; the loop's too. */
  readonly clockMs: () => number
}

/** Tokens a log may lag behind its sequence before the engine waits: a distant Redis' round trip, in quick steps, twice. */
const backlogTokensMax = 16

export class JobRun implements SequenceOwner {
  readonly outcome: Promise<JobOutcome>
  readonly #context: JobRunContext
  readonly #record: JobRecord
  readonly #plan: JobPlan
  readonly #figures: JobFigures
  readonly #sink: EventSink
  readonly #sequenceId: string
  readonly #resolve: (outcome: JobOutcome) => void
  readonly #reject: (error: unknown) => void
  /** Set once: the job ends in this way whatever the engine still says. */
  #verdict: 'fenced' | 'abandoned' | 'faulty' | null = null
  #hasLeftEngine = false
  #cachedTokens = 0

  constructor(context: JobRunContext, record: JobRecord, plan: JobPlan, figures: JobFigures) {
    this.#context = context
    this.#record = record
    this.#plan = plan
    this.#figures = figures
    // An epoch of its own: this worker may hold an earlier run of the job that does not know yet that it is fenced.
    this.#sequenceId = `${record.id}:${record.epoch}`
    const { promise, resolve, reject } = Promise.withResolvers<JobOutcome>()
    this.outcome = promise
    this.#resolve = resolve
    this.#reject = reject
    const sinkJob = { jobId: record.id, epoch: record.epoch, entryCount: record.entryCount }
    this.#sink = new EventSink(context.scripts, sinkJob, context.redisDeadlineMs, {
      onCancelled: () => this.cancel(),
      onRefused: (code) => {
        const isBug = code === 'gap' || code === 'conflict'
        context.log[isBug ? 'error' : 'info']({ jobId: record.id, epoch: record.epoch, code }, 'append refused')
        this.#drop(isBug ? 'abandoned' : 'fenced')
      },
      onFailed: (error) => {
        this.#reject(error)
        this.#drop('abandoned')
      },
    })
  }

  /** @param isIsolated it is suspected of killing its workers. */
  begin(isIsolated: boolean): void {
    const { promptTokenIds, resumedTokenIds, sampling, answerTokensMax, answer } = this.#plan
    // The worker before died between the last append and the finish.
    if (answer.end !== null) return void this.#complete(answer.end)
    const submission = this.#context.loop.submit(
      {
        id: this.#sequenceId,
        promptTokenIds,
        resumedTokenIds,
        sampling,
        answerTokensMax,
        stopTokenIds: this.#plan.stopTokenIds,
        isolated: isIsolated,
        tenantId: this.#record.tenantId,
        serviceClass: serviceClassOf(this.#record),
        // By Redis's clock, as far as it is known: this worker's own may be wrong.
        arrivedMs: this.#context.clockMs() - Math.max(0, this.#record.claimedAtMs - this.#record.admittedAtMs),
      },
      this,
    )
    // Claimed in the moment in which this worker began to leave.
    if (submission.kind === 'draining') return this.#resolve({ kind: 'handed-back' })
    assert(submission.kind === 'accepted', 'A planned prompt fits the engine')
    const { fingerprint } = this.#context
    this.#sink.append({
      kind: 'start',
      epoch: this.#record.epoch,
      fingerprint,
      promptTokens: promptTokenIds.length,
    })
  }

  cancel(): void {
    this.#context.loop.cancel(this.#sequenceId)
  }

  /** Nothing more is written: the job goes back to its queue. Resolves when no write is under way. */
  async close(): Promise<void> {
    this.#sink.close()
    await this.#sink.writing
  }

  onStart(cachedTokenCount: number): void {
    this.#cachedTokens = cachedTokenCount
    this.#figures.start(this.#plan.promptTokenIds.length, cachedTokenCount)
  }

  onToken(index: number, tokenId: number, logProbs: readonly TokenLogProb[] | null): void {
    const { answer, spell } = this.#plan
    // A stop string ends the answer here; the engine may be a token ahead.
    if (answer.end !== null || this.#verdict !== null) return
    assert.equal(index, answer.tokenCount, 'I1: tokens come in order')
    const { channel, text, end } = answer.push(tokenId)
    this.#figures.token()
    const entry = { kind: 'token', choice: 0, index, tokenIds: [tokenId], channel, text } as const
    const isTold = logProbs !== null && channel === 'content'
    this.#sink.append(isTold ? { ...entry, logProbs: [chancesOf(logProbs, spell)] } : entry)
    if (end === 'stop-string') this.#context.loop.finish(this.#sequenceId)
  }

  onEnd(reason: EndReason): void {
    this.#hasLeftEngine = true
    const { end } = this.#plan.answer
    if (this.#verdict === 'fenced' || this.#verdict === 'abandoned') return this.#resolve({ kind: this.#verdict })
    if (this.#verdict === 'faulty') return void this.#fail(internalError)
    if (reason === 'not-finite') return void this.#fail(modelError)
    if (reason === 'handed-back') return void this.close().then(() => this.#resolve({ kind: 'handed-back' }))
    // A cancel that meets a complete answer comes too late.
    if (end !== null) return void this.#complete(end)
    assert.equal(reason, 'cancelled', 'The engine ends an answer where its text ends')
    void this.#finish({ status: 'cancelled', finishReasons: [], error: null })
  }

  onFault(error: unknown): void {
    this.#context.log.error({ jobId: this.#record.id, err: withoutContent(error) }, 'a job failed on an error of ours')
    this.#verdict ??= 'faulty'
    // The engine's end was what failed: nothing else will come.
    if (this.#hasLeftEngine) void this.#fail(internalError)
  }

  congestion(): Promise<void> | null {
    return this.#sink.backlogCount >= backlogTokensMax ? this.#sink.relief(backlogTokensMax) : null
  }

  #drop(verdict: 'fenced' | 'abandoned'): void {
    this.#verdict = verdict
    this.cancel()
  }

  #complete(end: AnswerEnd): Promise<void> {
    return end === 'length'
      ? this.#finish({ status: 'incomplete', finishReasons: ['length'], error: null })
      : this.#finish({ status: 'completed', finishReasons: ['stop'], error: null })
  }

  #fail(error: AppError): Promise<void> {
    return this.#finish({ status: 'failed', finishReasons: [], error: error.facts })
  }

  async #finish(ending: Omit<Ending, 'promptTokens' | 'cachedTokens'>): Promise<void> {
    const promptTokens = this.#plan.promptTokenIds.length
    try {
      const reply = await this.#sink.finish({ ...ending, promptTokens, cachedTokens: this.#cachedTokens })
      if (reply === 'ok') {
        this.#figures.end(ending.status, promptTokens, this.#plan.answer.tokenCount)
        this.#resolve({ kind: 'ended', status: ending.status })
      } else this.#resolve({ kind: this.#verdict === 'abandoned' ? 'abandoned' : 'fenced' })
    } catch (error) {
      this.#reject(error)
    }
  }
}

/** How long a job may wait in the engine: nobody waits at the other end of a batch. */
function serviceClassOf({ tier, request }: JobRecord): ServiceClass {
  if (tier === 'batch') return 'batch'
  return request.thinking.think ? 'think' : 'interactive'
}

const internalError = new AppError('internal_error', 'The request failed on an error of the server. Please retry it.')
const modelError = new AppError('model_error', 'The model produced values that are not numbers. Please retry.')

/** What a job's end says of an error: a registered one as it is, anything else without its content. */
export function errorFactsOf(error: unknown): ErrorFacts {
  return (error instanceof AppError ? error : internalError).facts
}
