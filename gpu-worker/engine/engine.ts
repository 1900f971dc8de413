/**
 * Continuous batching: sequences join and leave between steps; `step()` is schedule → run → postprocess.
 *
 * It never reacts: calls queue up and the next `step()` picks them up. It does not know text, jobs, queues, time or
 * the GPU, which it sees only as a Runner. Whoever owns it calls `step()` while `hasWork`, and closes the Runner.
 */
import assert from 'node:assert/strict'
import type { Batch } from './batch.ts'
import type { Runner, StepResult } from './runner.ts'
import { positionsMax, type Scheduled, Scheduler } from './scheduler.ts'
import { type EndReason, Sequence, type SequenceRequest } from './sequence.ts'

export interface EngineOptions {
  /** Rows of one prefill chunk: what keeps the time between two tokens short. The step's limit if absent. */
  readonly prefillRowsMax?: number
}

export type Submission =
  | { readonly kind: 'accepted' }
  /** It can never run here: `needTokens` (the prompt and one answer token) of at most `tokensMax`. */
  | {
      readonly kind: 'refused'
      readonly reason: 'longer-than-context' | 'longer-than-pool'
      readonly needTokens: number
      readonly tokensMax: number
    }

export type EngineEvent =
  /** `index` counts from the first token of the answer; resumed tokens have theirs and are not repeated. */
  | { readonly kind: 'token'; readonly id: string; readonly index: number; readonly tokenId: number }
  /** Exactly once for every accepted sequence, behind its last token; the id is free again. */
  | { readonly kind: 'end'; readonly id: string; readonly reason: EndReason }

export interface EngineStats {
  readonly runningCount: number
  readonly waitingCount: number
  readonly freeBlockCount: number
  readonly blockCount: number
  /** Since the engine was built. */
  readonly preemptionCount: number
}

/** The Runner rejected a step: nothing of it counts, no event of it is told, and the engine steps no more. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed'

  constructor(batch: Batch, cause: unknown) {
    super(`Cannot run a step of ${batch.sequences.length} sequences`, { cause })
  }
}

/** What was asked since the last step: to add the sequence (`end` is null), or to end it. */
interface Command {
  readonly sequence: Sequence
  readonly end: EndReason | null
}

export class Engine {
  readonly #runner: Runner
  readonly #scheduler: Scheduler
  /** Every sequence accepted and not ended, by id. */
  readonly #sequences = new Map<string, Sequence>()
  readonly #commands: Command[] = []
  #arrivalCount = 0
  #isStepping = false
  #failure: StepFailed | null = null

  constructor(runner: Runner, options: EngineOptions = {}) {
    this.#runner = runner
    this.#scheduler = new Scheduler(runner.limits, options.prefillRowsMax ?? runner.limits.rowsMax)
  }

  /** Longest prompt and answer together: what a sequence may grow to before it ends with 'length'. */
  get tokensMax(): number {
    return positionsMax(this.#runner.limits)
  }

  get hasWork(): boolean {
    return this.#sequences.size > 0
  }

  /** Throws on what the caller should have checked: a used id, an empty prompt, a token outside the vocabulary. */
  submit(request: SequenceRequest): Submission {
    const { contextTokensMax, vocabSize } = this.#runner.limits
    const { id, promptTokenIds, resumedTokenIds = [] } = request
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
    const sequence = new Sequence(request, this.#arrivalCount, this.tokensMax)
    this.#arrivalCount += 1
    this.#sequences.set(id, sequence)
    this.#commands.push({ sequence, end: null })
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

  /**
   * One step; returns what happened in it, in order. Rejects with StepFailed when the Runner does; any other rejection
   * is a broken invariant. After either, hand the jobs back and build anew.
   */
  async step(): Promise<readonly EngineEvent[]> {
    assert(!this.#isStepping, 'Cannot step: a step is running')
    if (this.#failure !== null) throw this.#failure
    this.#isStepping = true
    try {
      const events: EngineEvent[] = []
      this.#applyCommands(events)
      const plan = this.#scheduler.schedule()
      if (plan.length > 0) this.#postprocess(plan, await this.#run(plan), events)
      return events
    } finally {
      this.#isStepping = false
    }
  }

  stats(): EngineStats {
    const { runningCount, preemptionCount, blocks } = this.#scheduler
    return {
      runningCount,
      waitingCount: this.#sequences.size - runningCount,
      freeBlockCount: blocks.freeCount,
      blockCount: blocks.blockCount,
      preemptionCount,
    }
  }

  /** Throws when an invariant is broken (I13 and the scheduler's own). For tests, and between steps when idle. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity()
    for (const { id, state } of this.#sequences.values()) assert(state.kind !== 'ended', `Sequence ${id} ended untold`)
    if (!this.hasWork) assert.equal(this.stats().freeBlockCount, this.stats().blockCount, 'I13: idle with used blocks')
  }

  /** Holds the sequence, not its id: the id may be another's by the time the step picks this up. */
  #requestEnd(id: string, end: EndReason): void {
    const sequence = this.#sequences.get(id)
    if (sequence !== undefined) this.#commands.push({ sequence, end })
  }

  #applyCommands(events: EngineEvent[]): void {
    for (const { sequence, end } of this.#commands.splice(0)) {
      if (sequence.state.kind === 'ended') continue
      // A resumed answer may be complete: its worker died between the last append and the finish.
      const reason = end ?? sequence.answerEnd
      if (reason === null) this.#scheduler.add(sequence)
      else this.#end(sequence, reason, events)
    }
  }

  async #run(plan: readonly Scheduled[]): Promise<StepResult> {
    const batch = { sequences: plan.map(toRows) }
    try {
      const result = await this.#runner.run(batch)
      checkResult(batch, result, this.#runner.limits.vocabSize)
      return result
    } catch (error) {
      this.#failure = new StepFailed(batch, error)
      throw this.#failure
    }
  }

  #postprocess(plan: readonly Scheduled[], { sampled }: StepResult, events: EngineEvent[]): void {
    for (const [position, { sequence, running, rowCount }] of plan.entries()) {
      running.computedCount += rowCount
      const sample = sampled[position] ?? null
      if (sample === null) continue
      if (sample.kind === 'not-finite') {
        this.#end(sequence, 'not-finite', events)
        continue
      }
      events.push({ kind: 'token', id: sequence.id, index: sequence.answerCount, tokenId: sample.tokenId })
      sequence.tokenIds.push(sample.tokenId)
      if (sequence.answerEnd !== null) this.#end(sequence, sequence.answerEnd, events)
    }
  }

  #end(sequence: Sequence, reason: EndReason, events: EngineEvent[]): void {
    this.#scheduler.end(sequence, reason)
    this.#sequences.delete(sequence.id)
    events.push({ kind: 'end', id: sequence.id, reason })
  }
}

function toRows({ sequence, running, rowCount }: Scheduled): Batch['sequences'][number] {
  const { blocks, computedCount: start } = running
  const sampler = rowCount === sequence.pendingCount ? sequence.nextSampler() : null
  return { tokenIds: sequence.tokenIds.slice(start, start + rowCount), start, blocks, sampler }
}

/** A Runner that answers something else than it was asked must not reach a token log. */
function checkResult(batch: Batch, { sampled }: StepResult, vocabSize: number): void {
  assert.equal(sampled.length, batch.sequences.length, 'Results and sequences of a step differ in number')
  for (const [position, { sampler }] of batch.sequences.entries()) {
    const sample = sampled[position] ?? null
    assert.equal(sample !== null, sampler !== null, 'A sequence was sampled unasked, or asked and not sampled')
    if (sample?.kind === 'token') assert(isTokenId(sample.tokenId, vocabSize), 'A sampled token is no token')
  }
}

function isTokenId(value: number, vocabSize: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < vocabSize
}
