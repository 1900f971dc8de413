/**
 * Which sequences run in the next step, with how many rows: every decode first, then at most one prefill chunk.
 *
 * Pure policy: it has no clock (time is an argument), no GPU, and does not know what was sampled. Whoever executes the
 * plan advances the sequences.
 *
 *   waiting ──admit (blocks for every known token + 1)──▶ running ──end──▶ ended
 *      ▲                                                    │                ▲
 *      └────────preempt (latest due first; KV dropped)──────┘    waiting ──end──┘
 *
 * Due = arrival + age cap of the class: newest first within a class, batch before think before interactive of like age.
 * The running sequence that is due first is never preempted (alone it fits: `positionsMax`), so every step brings it
 * forward. No preempted sequence returns for ever either: past its cap only those due before it run before it, these
 * are finitely many, and each of them ends.
 */
import assert from 'node:assert/strict'
import { type AgeCapsMs, firstInOrder } from './admission.ts'
import type { BlockId } from './batch.ts'
import { BlockManager } from './block-manager.ts'
import type { RunnerLimits } from './runner.ts'
import type { EndReason, Running, Sequence } from './sequence.ts'

/** Rows of one sequence in a step: its tokens at positions computedCount … computedCount + rowCount − 1. */
export interface Scheduled {
  readonly sequence: Sequence
  readonly running: Running
  readonly rowCount: number
}

export interface SchedulerOptions {
  /** Rows of one prefill chunk: what keeps the time between two tokens short. By default the step's limit. */
  readonly prefillRowsMax: number
  /** Age at which a sequence is next, whatever came after it; all 0 is first come, first served. */
  readonly ageCapsMs: AgeCapsMs
  /** Told of blocks whose content nobody may read any more, behind the steps given so far and before anyone gets them. */
  readonly onBlocksFreed?: (blocks: readonly BlockId[]) => void
}

/** Longest sequence, prompt and answer together, that context and pool can hold. */
export function positionsMax(limits: RunnerLimits): number {
  return Math.min(limits.contextTokensMax, limits.blockCount * limits.blockTokens)
}

export class Scheduler {
  readonly blocks: BlockManager
  readonly #limits: RunnerLimits
  readonly #options: SchedulerOptions
  /** At most a row each, so that every decode has its row and a prefill always has one left. */
  readonly #runningMax: number
  readonly #waiting = new Set<Sequence>()
  readonly #running = new Set<Sequence>()
  #preemptionCount = 0

  constructor(limits: RunnerLimits, options: SchedulerOptions) {
    assert(options.prefillRowsMax > 0, `Cannot prefill in chunks of ${options.prefillRowsMax} rows`)
    this.blocks = new BlockManager(limits.blockCount, options.onBlocksFreed)
    this.#limits = limits
    this.#options = options
    this.#runningMax = Math.min(limits.sequencesMax, limits.rowsMax)
  }

  get runningCount(): number {
    return this.#running.size
  }

  get preemptionCount(): number {
    return this.#preemptionCount
  }

  get waiting(): Iterable<Sequence> {
    return this.#waiting
  }

  add(sequence: Sequence, nowMs: number): void {
    assert.equal(sequence.state.kind, 'waiting', 'Cannot add a sequence that already ran')
    sequence.arrivedMs = Math.min(sequence.arrivedMs, nowMs)
    sequence.dueMs = sequence.arrivedMs + this.#options.ageCapsMs[sequence.serviceClass]
    this.#waiting.add(sequence)
  }

  /** Takes the sequence out, wherever it stands, and frees its blocks. */
  end(sequence: Sequence, reason: EndReason): void {
    this.#leave(sequence)
    sequence.state = { kind: 'ended', reason }
  }

  /**
   * Plans a step, given that the plan before it was given to the Runner. Allocates what it needs, preempts and admits.
   * Empty only if nothing is left, or if all that may run waits for the step in flight.
   */
  schedule(nowMs: number): readonly Scheduled[] {
    for (const sequence of this.#running) this.#publish(sequence)
    const preemptionCount = this.#preemptionCount
    const plan = this.#scheduleDecodes()
    const hasPreempted = this.#preemptionCount > preemptionCount
    const prefill = [...this.#running].find(isPrefill) ?? (hasPreempted ? null : this.#admitNext(nowMs))
    if (prefill !== null) {
      const rowsLeft = Math.min(this.#options.prefillRowsMax, this.#limits.rowsMax - plan.length)
      const rowCount = Math.min(prefill.pendingCount, rowsLeft)
      plan.push({ sequence: prefill, running: runningState(prefill), rowCount })
    }
    const isIdle = plan.length === 0 && [...this.#running].every(({ inFlight }) => inFlight === null)
    assert(!isIdle || this.#waiting.size === 0, 'Cannot plan a step: sequences wait and none can run')
    return plan
  }

  /** I13, and that each sequence is what its set says. Throws if not. */
  checkIntegrity(): void {
    for (const { state } of this.#waiting) assert.equal(state.kind, 'waiting', 'A waiting sequence is not')
    for (const sequence of this.#running) {
      const { blocks, computedCount, publishedCount } = runningState(sequence)
      const writing = Math.floor(computedCount / this.#limits.blockTokens)
      assert(sequence.pendingCount > 0, 'A running sequence has nothing to run')
      assert(blocks.length >= this.#blocksFor(computedCount), 'A running sequence lacks blocks')
      assert(blocks.length <= this.#blocksFor(sequence.tokenIds.length + 1), 'A running sequence hoards blocks')
      assert(publishedCount <= writing, 'I14: a block is published that is still written')
      for (const block of blocks.slice(writing)) assert.equal(this.blocks.referencesOf(block), 1, 'I14: shared write')
      assert(!sequence.isIsolated || this.#running.size === 1, 'An isolated sequence has company')
    }
    assert(this.#running.size <= this.#runningMax, 'More sequences run than fit a step')
    this.blocks.checkIntegrity([...this.#running].map((sequence) => runningState(sequence).blocks))
  }

  /** Every running decode gets its row; where blocks run out those due last give theirs up. */
  #scheduleDecodes(): Scheduled[] {
    const plan: Scheduled[] = []
    const dueFirst = [...this.#running].sort((a, b) => a.dueMs - b.dueMs || a.arrival - b.arrival)
    // Victims leave at the end of the list while it is walked: none of them is planned yet.
    for (const sequence of dueFirst) {
      if (isPrefill(sequence) || !sequence.isRunnable) continue
      const running = runningState(sequence)
      const missingCount = this.#blocksFor(running.computedCount + 1) - running.blocks.length
      while (missingCount > this.blocks.availableCount && sequence.state.kind === 'running')
        this.#preempt(dueFirst.pop())
      if (sequence.state.kind !== 'running') break
      if (missingCount > 0) running.blocks.push(...this.blocks.allocate(missingCount))
      plan.push({ sequence, running, rowCount: 1 })
    }
    return plan
  }

  /** Drops the sequence's KV: it waits again, and its known tokens will be prefilled like a prompt. */
  #preempt(sequence: Sequence | undefined): void {
    assert(sequence !== undefined, 'Cannot preempt: no sequence runs')
    this.#leave(sequence)
    sequence.state = { kind: 'waiting' }
    this.#waiting.add(sequence)
    this.#preemptionCount += 1
  }

  /** Lets the first in order run, if it may. One that may not yet is not overtaken by one that fits: it would starve. */
  #admitNext(nowMs: number): Sequence | null {
    if (this.#running.size >= this.#runningMax) return null
    const sequence = firstInOrder(this.#waiting, nowMs, (other) => this.#uncachedCount(other))
    if (sequence === null || !this.#isCompanyAllowed(sequence)) return null
    const cached = this.#cached(sequence)
    const missingCount = this.#blocksFor(sequence.tokenIds.length + 1) - cached.length
    const unheldCount = cached.filter((block) => this.blocks.referencesOf(block) === 0).length
    if (missingCount > this.blocks.availableCount - unheldCount) return null
    this.blocks.share(cached)
    const blocks = [...cached, ...this.blocks.allocate(missingCount)]
    const computedCount = cached.length * this.#limits.blockTokens
    this.#waiting.delete(sequence)
    this.#running.add(sequence)
    sequence.state = { kind: 'running', blocks, computedCount, publishedCount: cached.length }
    if (!sequence.hasStarted) sequence.cachedTokenCount = Math.min(computedCount, sequence.promptCount)
    return sequence
  }

  #isCompanyAllowed({ isIsolated }: Sequence): boolean {
    return this.#running.size === 0 || (!isIsolated && ![...this.#running].some((other) => other.isIsolated))
  }

  /** The sequence's beginning in the cache. Never its last token: a row has to run to sample the next. */
  #cached(sequence: Sequence): readonly BlockId[] {
    const { blockTokens } = this.#limits
    const count = Math.floor((sequence.tokenIds.length - 1) / blockTokens)
    return this.blocks.find(sequence.blockKeys(count, blockTokens))
  }

  #uncachedCount(sequence: Sequence): number {
    return sequence.tokenIds.length - this.#cached(sequence).length * this.#limits.blockTokens
  }

  /** Lets others share the blocks that the steps so far have filled with known tokens. */
  #publish(sequence: Sequence): void {
    const running = runningState(sequence)
    const { blockTokens } = this.#limits
    const fullCount = Math.floor(Math.min(running.computedCount, sequence.tokenIds.length) / blockTokens)
    if (fullCount === running.publishedCount) return
    for (const key of sequence.blockKeys(fullCount, blockTokens).slice(running.publishedCount)) {
      const block = running.blocks[running.publishedCount]
      assert(block !== undefined, 'A running sequence lacks blocks')
      this.blocks.publish(key, block)
      running.publishedCount += 1
    }
  }

  #leave(sequence: Sequence): void {
    if (sequence.state.kind === 'running') {
      this.#publish(sequence)
      this.blocks.release(sequence.state.blocks)
    }
    this.#running.delete(sequence)
    this.#waiting.delete(sequence)
  }

  #blocksFor(positionCount: number): number {
    return Math.ceil(positionCount / this.#limits.blockTokens)
  }
}

function isPrefill(sequence: Sequence): boolean {
  return sequence.pendingCount > 1
}

function runningState({ state }: Sequence): Running {
  assert(state.kind === 'running', `Expected a running sequence, got ${state.kind}`)
  return state
}
