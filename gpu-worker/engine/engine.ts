/**
 * Continuous batching: sequences join and leave between steps; `step()` is schedule → run → postprocess.
 *
 * It never reacts: calls queue up and the next `step()` picks them up. It does not know text, jobs, queues, clocks or
 * the GPU, which it sees only as a Runner. Whoever owns it calls `step()` while `hasWork`, and closes the Runner.
 *
 * Over a Runner that overlaps steps, step t + 1 is planned and given before the results of step t are looked at. A decode
 * of t + 1 is fed what t samples, on the GPU. A sequence that ends in t has a row too many in t + 1, which is discarded.
 * Its blocks may be given away at once: whoever gets them writes in t + 2 at the earliest, behind that row, and reads
 * nothing that it did not write or find published.
 */
import assert from 'node:assert/strict'
import { defaultAgeCapsMs } from './admission.ts'
import type { Batch } from './batch.ts'
import { rootKey } from './prefix-key.ts'
import type { Runner, StepResult, TokenLogProb } from './runner.ts'
import { positionsMax, type Scheduled, Scheduler, type SchedulerOptions } from './scheduler.ts'
import { type EndReason, Sequence, type SequenceRequest } from './sequence.ts'

export type EngineOptions = Partial<SchedulerOptions>

export type Submission =
  | { readonly kind: 'accepted' }
  /** It can never run here: `needTokens` (the prompt and one answer token) of at most `tokensMax`. */
  | {
      readonly kind: 'refused'
      readonly reason: 'longer-than-context' | 'longer-than-pool'
      readonly needTokens: number
      readonly tokensMax: number
    }
  /** The engine takes nothing any more. */
  | { readonly kind: 'draining' }

/** The token's own, then the likeliest in order. */
type LogProbs = readonly TokenLogProb[]

export type EngineEvent =
  /** Once, when it first runs: its prompt tokens that were found in the prefix cache, and not computed. */
  | { readonly kind: 'start'; readonly id: string; readonly cachedTokenCount: number }
  /** The log probabilities of the prompt's token at this position, counted from 0: the first has none. In order, once each. */
  | { readonly kind: 'prompt-logprobs'; readonly id: string; readonly index: number; readonly logProbs: LogProbs }
  /** `index` counts from the first token of the answer; resumed tokens have theirs and are not repeated. */
  | {
      readonly kind: 'token'
      readonly id: string
      readonly index: number
      readonly tokenId: number
      /** Where its sampler asked for them. */
      readonly logProbs?: LogProbs
    }
  /** Exactly once for every accepted sequence, behind its last token; the id is free again. */
  | { readonly kind: 'end'; readonly id: string; readonly reason: EndReason }

export type EngineStats = ReturnType<Engine['stats']>

/** The Runner rejected a step: nothing of it counts, no event of it is told, and the engine steps no more. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed'

  constructor(batch: Batch, cause: unknown) {
    super(`Cannot run a step of ${batch.sequences.length} sequences`, { cause })
  }
}

interface StepInFlight {
  readonly plan: readonly Scheduled[]
  readonly result: Promise<StepResult>
}

export class Engine {
  readonly #runner: Runner
  readonly #scheduler: Scheduler
  /** Every sequence accepted and not ended, by id. */
  readonly #sequences = new Map<string, Sequence>()
  /** What was asked since the last step. */
  readonly #commands: ((nowMs: number) => void)[] = []
  /** What became known and was not told yet. */
  #events: EngineEvent[] = []
  #arrivalCount = 0
  #isStepping = false
  #isDraining = false
  /** The step given to the Runner whose results were not looked at. */
  #inFlight: StepInFlight | null = null
  #failure: StepFailed | null = null

  constructor(runner: Runner, options: EngineOptions = {}) {
    const defaults = { prefillRowsMax: runner.limits.rowsMax, ageCapsMs: defaultAgeCapsMs }
    this.#runner = runner
    this.#scheduler = new Scheduler(runner.limits, { ...defaults, ...options })
  }

  /** Longest prompt and answer together: what a sequence may grow to before it ends with 'length'. */
  get tokensMax(): number {
    return positionsMax(this.#runner.limits)
  }

  get hasWork(): boolean {
    return this.#sequences.size > 0 || this.#inFlight !== null
  }

  /** Throws on what the caller should have checked: a used id, an empty prompt, a token outside the vocabulary. */
  submit(request: SequenceRequest): Submission {
    const { contextTokensMax, vocabSize } = this.#runner.limits
    const { id, promptTokenIds, resumedTokenIds = [], tenantId } = request
    assert(!this.#sequences.has(id), `Cannot submit sequence ${id}: it is here already`)
    const areTokens = [promptTokenIds, resumedTokenIds].every((ids) =>
      ids.every((token) => isTokenId(token, vocabSize)),
    )
    assert(areTokens, `Cannot submit sequence ${id}: a token is outside 0 … ${vocabSize - 1}`)
    const needTokens = promptTokenIds.length + 1
    if (needTokens > this.tokensMax) {
      const reason = needTokens > contextTokensMax ? 'longer-than-context' : 'longer-than-pool'
      return { kind: 'refused', reason, needTokens, tokensMax: this.tokensMax }
    }
    if (this.#isDraining) return { kind: 'draining' }
    const root = tenantId === undefined ? null : rootKey(this.#runner.fingerprint, tenantId)
    const sequence = new Sequence(request, this.#arrivalCount, this.tokensMax, root)
    this.#arrivalCount += 1
    this.#sequences.set(id, sequence)
    this.#commands.push((nowMs) => {
      // A resumed answer may be complete: its worker died between the last append and the finish.
      if (sequence.answerEnd === null) this.#scheduler.add(sequence, nowMs)
      else this.#end(sequence, sequence.answerEnd)
    })
    return { kind: 'accepted' }
  }

  /** Drops the sequence, wherever it stands; it ends with 'cancelled' in the next step. Unknown and ended: nothing. */
  cancel(id: string): void {
    this.#requestEnd(id, 'cancelled')
  }

  /** The caller found the answer complete (a stop string); it ends with 'stop' in the next step. */
  finish(id: string): void {
    this.#requestEnd(id, 'stop')
  }

  /** Takes nothing any more: what waits ends with 'handed-back' in the next step, what runs is finished. */
  drain(): void {
    this.#isDraining = true
    this.#commands.push(() => {
      for (const sequence of this.#scheduler.waiting) this.#end(sequence, 'handed-back')
    })
  }

  /**
   * One step; returns what became known in it, in order. `nowMs` is on any clock that does not run backwards; without
   * one, sequences of a class start in order of submission. Rejects with StepFailed when the Runner does; any other
   * rejection is a broken invariant. After either, hand the jobs back and build anew.
   */
  async step(nowMs = 0): Promise<readonly EngineEvent[]> {
    assert(!this.#isStepping, 'Cannot step: a step is running')
    if (this.#failure !== null) throw this.#failure
    this.#isStepping = true
    try {
      for (const apply of this.#commands.splice(0)) apply(nowMs)
      const plan = this.#scheduler.schedule(nowMs)
      const isAlone = plan.some(({ rows }) => rows.promptLogprobs !== undefined)
      if (isAlone) await this.#settle()
      const given = this.#give(plan)
      await this.#settle()
      this.#inFlight = given
      for (const [position, { sequence, rows }] of plan.entries()) if (rows.sampler) sequence.fedFrom = position
      if (isAlone || (this.#runner.limits.stepsInFlightMax ?? 1) === 1) await this.#settle()
      return this.#events.splice(0)
    } finally {
      this.#isStepping = false
    }
  }

  /** free + cached + used = blockCount: cached blocks are nobody's and can be had like free ones. */
  stats() {
    const { runningCount, preemptionCount, blocks } = this.#scheduler
    return {
      runningCount,
      waitingCount: this.#sequences.size - runningCount,
      freeBlockCount: blocks.freeCount,
      cachedBlockCount: blocks.cachedCount,
      blockCount: blocks.blockCount,
      preemptionCount,
    }
  }

  /** Throws when an invariant is broken (I13, I14's and the scheduler's own). For tests, and between steps when idle. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity()
    for (const { id, state } of this.#sequences.values()) assert(state.kind !== 'ended', `Sequence ${id} ended untold`)
    const { blocks } = this.#scheduler
    if (!this.hasWork) assert.equal(blocks.availableCount, blocks.blockCount, 'I13: idle with used blocks')
  }

  /** Holds the sequence, not its id: the id may be another's by the time the step picks this up. */
  #requestEnd(id: string, end: EndReason): void {
    const sequence = this.#sequences.get(id)
    if (sequence === undefined) return
    this.#commands.push(() => {
      if (sequence.state.kind !== 'ended') this.#end(sequence, end)
    })
  }

  #give(plan: readonly Scheduled[]): StepInFlight | null {
    if (plan.length === 0) return null
    const result = this.#run({ sequences: plan.map(({ rows }) => rows) })
    // Looked at in a later step, or never when the one before it failed.
    result.catch(() => undefined)
    for (const { sequence } of plan) {
      if (sequence.hasStarted) continue
      sequence.hasStarted = true
      this.#events.push({ kind: 'start', id: sequence.id, cachedTokenCount: sequence.cachedTokenCount })
    }
    return { plan, result }
  }

  async #run(batch: Batch): Promise<StepResult> {
    try {
      const result = await this.#runner.run(batch)
      checkResult(batch, result, this.#runner.limits.vocabSize)
      return result
    } catch (error) {
      this.#failure ??= new StepFailed(batch, error)
      throw this.#failure
    }
  }

  /** Waits for the step in flight, if there is one, and takes in what it sampled and told. */
  async #settle(): Promise<void> {
    if (this.#inFlight === null) return
    const { plan, result } = this.#inFlight
    const { sampled, promptLogProbs } = await result
    this.#inFlight = null
    for (const [position, { sequence, rows }] of plan.entries()) {
      sequence.fedFrom = null
      // A row too many of a sequence that has ended since.
      if (sequence.state.kind === 'ended') continue
      for (const [row, logProbs] of (promptLogProbs?.[position] ?? []).entries())
        this.#tellPrompt(sequence, rows.start + row + 1, logProbs)
      const sample = sampled[position] ?? null
      if (sample?.kind === 'not-finite') this.#end(sequence, 'not-finite')
      if (sample?.kind !== 'token') continue
      this.#events.push({ ...sample, id: sequence.id, index: sequence.answerCount })
      sequence.append(sample.tokenId)
      if (sequence.answerEnd !== null) this.#end(sequence, sequence.answerEnd)
    }
  }

  /** A preempted sequence computes its prompt again, and tells only what it had not. */
  #tellPrompt(sequence: Sequence, index: number, logProbs: readonly TokenLogProb[]): void {
    if (index < sequence.toldCount) return
    this.#events.push({ kind: 'prompt-logprobs', id: sequence.id, index, logProbs })
    sequence.toldCount = index + 1
  }

  #end(sequence: Sequence, reason: EndReason): void {
    this.#scheduler.end(sequence)
    this.#sequences.delete(sequence.id)
    this.#events.push({ kind: 'end', id: sequence.id, reason })
  }
}

/** A Runner that answers something else than it was asked must not reach a token log. */
function checkResult(batch: Batch, { sampled, promptLogProbs }: StepResult, vocabSize: number): void {
  assert.equal(sampled.length, batch.sequences.length, 'Results and sequences of a step differ in number')
  for (const [position, { sampler, promptLogprobs }] of batch.sequences.entries()) {
    const sample = sampled[position] ?? null
    assert.equal(sample !== null, sampler !== null, 'A sequence was sampled unasked, or asked and not sampled')
    if (sample?.kind === 'token') assert(isTokenId(sample.tokenId, vocabSize), 'A sampled token is no token')
    const toldCount = promptLogProbs?.[position]?.length
    assert.equal(
      toldCount,
      promptLogprobs?.nextTokenIds.length,
      'Log probabilities of a prompt are not those asked for',
    )
  }
}

function isTokenId(value: number, vocabSize: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < vocabSize
}
