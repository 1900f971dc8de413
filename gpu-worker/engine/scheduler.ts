/**
 * Which sequences run in the next step, with how many rows: every decode first, then at most one prefill chunk.
 *
 * Pure policy: it does not know time, the GPU, or what was sampled. Whoever executes the plan advances the sequences.
 *
 *   waiting ──admit (blocks for every known token + 1)──▶ running ──end──▶ ended
 *      ▲                                                    │                ▲
 *      └────────────preempt (newest first; KV dropped)──────┘    waiting ──end──┘
 *
 * The oldest running sequence is never preempted (alone it fits: `positionsMax`), so every step brings it forward.
 */
import assert from 'node:assert/strict'
import { BlockManager } from './block-manager.ts'
import type { RunnerLimits } from './runner.ts'
import type { EndReason, Running, Sequence } from './sequence.ts'

/** Rows of one sequence in a step: its tokens at positions computedCount … computedCount + rowCount − 1. */
export interface Scheduled {
  readonly sequence: Sequence
  readonly running: Running
  readonly rowCount: number
}

/** Longest sequence, prompt and answer together, that context and pool can hold. */
export function positionsMax(limits: RunnerLimits): number {
  return Math.min(limits.contextTokensMax, limits.blockCount * limits.blockTokens)
}

export class Scheduler {
  readonly blocks: BlockManager
  readonly #limits: RunnerLimits
  readonly #prefillRowsMax: number
  /** At most a row each, so that every decode has its row and a prefill always has one left. */
  readonly #runningMax: number
  readonly #waiting = new Set<Sequence>()
  readonly #running = new Set<Sequence>()
  #preemptionCount = 0

  constructor(limits: RunnerLimits, prefillRowsMax: number) {
    assert(prefillRowsMax > 0, `Cannot prefill in chunks of ${prefillRowsMax} rows`)
    this.blocks = new BlockManager(limits.blockCount)
    this.#limits = limits
    this.#prefillRowsMax = prefillRowsMax
    this.#runningMax = Math.min(limits.sequencesMax, limits.rowsMax)
  }

  get runningCount(): number {
    return this.#running.size
  }

  get preemptionCount(): number {
    return this.#preemptionCount
  }

  add(sequence: Sequence): void {
    assert.equal(sequence.state.kind, 'waiting', 'Cannot add a sequence that already ran')
    this.#waiting.add(sequence)
  }

  /** Takes the sequence out, wherever it stands, and frees its blocks. */
  end(sequence: Sequence, reason: EndReason): void {
    this.#leave(sequence)
    sequence.state = { kind: 'ended', reason }
  }

  /** Plans a step: never empty while a sequence is left. Allocates what it needs, preempts and admits. */
  schedule(): readonly Scheduled[] {
    const preemptionCount = this.#preemptionCount
    const plan = this.#scheduleDecodes()
    const hasPreempted = this.#preemptionCount > preemptionCount
    const prefill = [...this.#running].find(isPrefill) ?? (hasPreempted ? null : this.#admitNext())
    if (prefill !== null) {
      const rowCount = Math.min(prefill.pendingCount, this.#prefillRowsMax, this.#limits.rowsMax - plan.length)
      plan.push({ sequence: prefill, running: runningState(prefill), rowCount })
    }
    assert(plan.length > 0 || this.#waiting.size === 0, 'Cannot plan a step: sequences wait and none can run')
    return plan
  }

  /** I13, and that each sequence is what its set says. Throws if not. */
  checkIntegrity(): void {
    for (const { state } of this.#waiting) assert.equal(state.kind, 'waiting', 'A waiting sequence is not')
    for (const sequence of this.#running) {
      const { blocks, computedCount } = runningState(sequence)
      const writing = Math.floor(computedCount / this.#limits.blockTokens)
      assert(computedCount < sequence.tokenIds.length, 'A running sequence has nothing to run')
      assert(blocks.length >= this.#blocksFor(computedCount), 'A running sequence lacks blocks')
      assert(blocks.length <= this.#blocksFor(sequence.tokenIds.length + 1), 'A running sequence hoards blocks')
      for (const block of blocks.slice(writing)) assert.equal(this.blocks.referencesOf(block), 1, 'I13: shared write')
      assert(!sequence.isIsolated || this.#running.size === 1, 'An isolated sequence has company')
    }
    assert(this.#running.size <= this.#runningMax, 'More sequences run than fit a step')
    this.blocks.checkIntegrity([...this.#running].map((sequence) => runningState(sequence).blocks))
  }

  /** Every running decode gets its row; where blocks run out the newest sequences give theirs up. */
  #scheduleDecodes(): Scheduled[] {
    const plan: Scheduled[] = []
    const oldestFirst = [...this.#running].sort((a, b) => a.arrival - b.arrival)
    // Victims leave at the end of the list while it is walked: none of them is planned yet.
    for (const sequence of oldestFirst) {
      if (isPrefill(sequence)) continue
      const running = runningState(sequence)
      const missingCount = this.#blocksFor(sequence.tokenIds.length) - running.blocks.length
      while (missingCount > this.blocks.freeCount && sequence.state.kind === 'running') this.#preempt(oldestFirst.pop())
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

  /** Lets the next waiting sequence run, if it may. A sequence that may not yet is not overtaken: it would starve. */
  #admitNext(): Sequence | null {
    const sequence = nextInOrder(this.#waiting)
    if (sequence === null || !this.#mayRun(sequence)) return null
    this.#waiting.delete(sequence)
    this.#running.add(sequence)
    const blocks = this.blocks.allocate(this.#blocksFor(sequence.tokenIds.length + 1))
    sequence.state = { kind: 'running', blocks, computedCount: 0 }
    return sequence
  }

  #mayRun(sequence: Sequence): boolean {
    const isCompanyAllowed = !sequence.isIsolated && ![...this.#running].some(({ isIsolated }) => isIsolated)
    return (
      (this.#running.size === 0 || isCompanyAllowed) &&
      this.#running.size < this.#runningMax &&
      this.blocks.freeCount >= this.#blocksFor(sequence.tokenIds.length + 1)
    )
  }

  #leave(sequence: Sequence): void {
    if (sequence.state.kind === 'running') this.blocks.release(sequence.state.blocks)
    this.#running.delete(sequence)
    this.#waiting.delete(sequence)
  }

  #blocksFor(positionCount: number): number {
    return Math.ceil(positionCount / this.#limits.blockTokens)
  }
}

/** The order of admission, and the only place that knows it: submission order. */
function nextInOrder(waiting: Iterable<Sequence>): Sequence | null {
  let next: Sequence | null = null
  for (const sequence of waiting) if (next === null || sequence.arrival < next.arrival) next = sequence
  return next
}

function isPrefill(sequence: Sequence): boolean {
  return sequence.pendingCount > 1
}

function runningState({ state }: Sequence): Running {
  assert(state.kind === 'running', `Expected a running sequence, got ${state.kind}`)
  return state
}
