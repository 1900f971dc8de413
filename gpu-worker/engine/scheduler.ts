/**
 * Which sequences run in the next step, with how many rows: every decode, then prefills as far as the chunk's rows reach.
 *
 * Pure policy: it has no clock (time is an argument), no GPU, and does not know what was sampled. Whoever asks for a plan
 * runs it.
 *
 *   waiting ──admit (blocks for every known token + 1)──▶ running ──end──▶ ended
 *      ▲                                                    │                ▲
 *      └────────preempt (latest due first; KV dropped)──────┘    waiting ──end──┘
 *
 * Due = arrival + age cap of the class: newest first within a class, batch before think before interactive of like age.
 * The running sequence that is due first is never preempted (alone it fits: `positionsMax`), and first of its kind in
 * every plan, so every step or second one brings it forward. No preempted sequence returns for ever either: past its cap
 * only those due before it run before it, these are finitely many, and each of them ends.
 *
 * Steps that tell log probabilities of a prompt run alone, and others between any two of them, if there is anything to run.
 */
import assert from 'node:assert/strict'
import { type AgeCapsMs, firstInOrder } from './admission.ts'
import type { BlockId, SequenceRows } from './batch.ts'
import { BlockManager } from './block-manager.ts'
import type { PrefixKey } from './prefix-key.ts'
import type { RunnerLimits } from './runner.ts'
import type { Sequence } from './sequence.ts'

/** Rows of one sequence in a step. */
export interface Scheduled {
  readonly sequence: Sequence
  readonly rows: SequenceRows
}

export interface SchedulerOptions {
  /** Prefill rows of one step, of all sequences together: what keeps the time between two tokens short. */
  readonly prefillRowsMax: number
  /** Age at which a sequence is next, whatever came after it; all 0 is first come, first served. */
  readonly ageCapsMs: AgeCapsMs
  /** Told of blocks whose content nobody may read any more, behind the steps planned so far and before anyone gets them. */
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
  #hasJustTold = false

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
  end(sequence: Sequence): void {
    this.#leave(sequence)
    sequence.state = { kind: 'ended' }
  }

  /**
   * Plans a step, given that the plan before it was given to the Runner. Allocates what it needs, preempts and admits.
   * Empty only if nothing is left, or if all that may run waits for the step in flight.
   */
  schedule(nowMs: number): readonly Scheduled[] {
    const teller = () => this.#dueFirst().find(({ isTelling }) => isTelling)
    const plan = this.#hasJustTold || teller() === undefined ? this.#planTogether(nowMs) : []
    const telling = plan.length === 0 ? teller() : undefined
    if (telling !== undefined) plan.push(this.#take(telling, this.#chunkRows(0)))
    this.#hasJustTold = telling !== undefined
    const isIdle = plan.length === 0 && [...this.#running].every(({ fedFrom }) => fedFrom === null)
    assert(!isIdle || this.#waiting.size === 0, 'Cannot plan a step: sequences wait and none can run')
    return plan
  }

  /** I13, and that each sequence is what its set says. Throws if not. */
  checkIntegrity(): void {
    for (const { state } of this.#waiting) assert.equal(state.kind, 'waiting', 'A waiting sequence is not')
    for (const sequence of this.#running) {
      const { blocks, computedCount, publishedCount } = sequence.running
      const writing = Math.floor(computedCount / this.#limits.blockTokens)
      assert(sequence.pendingCount > 0, 'A running sequence has nothing to run')
      assert(blocks.length >= this.#blocksFor(computedCount), 'A running sequence lacks blocks')
      assert(blocks.length <= this.#blocksFor(sequence.tokenIds.length + 1), 'A running sequence hoards blocks')
      assert(publishedCount <= writing, 'I14: a block is published that is still written')
      for (const block of blocks.slice(writing)) assert.equal(this.blocks.referencesOf(block), 1, 'I14: shared write')
      assert(!sequence.request.isolated || this.#running.size === 1, 'An isolated sequence has company')
    }
    assert(this.#running.size <= this.#runningMax, 'More sequences run than fit a step')
    this.blocks.checkIntegrity([...this.#running].map(({ running }) => running.blocks))
  }

  /** Decodes, then prefills while rows of the chunk are left: those that run, then whoever may start. */
  #planTogether(nowMs: number): Scheduled[] {
    const preemptionCount = this.#preemptionCount
    const dueFirst = this.#dueFirst()
    const plan = this.#planDecodes(dueFirst)
    const hasPreempted = this.#preemptionCount > preemptionCount
    const prefills = dueFirst.filter(({ isPrefill, isTelling }) => isPrefill && !isTelling)
    for (let rowsLeft = this.#chunkRows(plan.length); rowsLeft > 0;) {
      const sequence = prefills.shift() ?? (hasPreempted ? null : this.#admitNext(nowMs))
      if (sequence === null) break
      if (sequence.isTelling) continue
      const scheduled = this.#take(sequence, rowsLeft)
      plan.push(scheduled)
      rowsLeft -= scheduled.rows.tokenIds.length
    }
    return plan
  }

  #dueFirst(): Sequence[] {
    return [...this.#running].sort((a, b) => a.dueMs - b.dueMs || a.arrival - b.arrival)
  }

  /** Every running decode gets its row; where blocks run out those due last give theirs up, and leave the list. */
  #planDecodes(dueFirst: Sequence[]): Scheduled[] {
    const plan: Scheduled[] = []
    // Victims leave at the end of the list while it is walked: none of them is planned yet.
    for (const sequence of dueFirst) {
      if (sequence.isPrefill || !sequence.isRunnable) continue
      const { blocks, computedCount } = sequence.running
      const missingCount = this.#blocksFor(computedCount + 1) - blocks.length
      while (missingCount > this.blocks.availableCount && sequence.state.kind === 'running')
        this.#preempt(dueFirst.pop())
      if (sequence.state.kind !== 'running') break
      if (missingCount > 0) blocks.push(...this.blocks.allocate(missingCount))
      plan.push(this.#take(sequence, 1))
    }
    return plan
  }

  /**
   * Its blocks that are full then are for others to share at once, behind it in this very step: a step writes its rows'
   * entries before it reads any.
   */
  #take(sequence: Sequence, rowCountMax: number): Scheduled {
    const rows = sequence.take(rowCountMax)
    this.#publish(sequence)
    return { sequence, rows }
  }

  #chunkRows(decodeCount: number): number {
    return Math.min(this.#options.prefillRowsMax, this.#limits.rowsMax - decodeCount)
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
    const cached = this.blocks.find(this.#sharedKeys(sequence))
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

  #isCompanyAllowed({ request }: Sequence): boolean {
    return (
      this.#running.size === 0 || (!request.isolated && ![...this.#running].some((other) => other.request.isolated))
    )
  }

  /** Of the blocks it may share. Never its last token: a row has to run to sample the next. Nor untold rows. */
  #sharedKeys(sequence: Sequence): readonly PrefixKey[] {
    const { blockTokens } = this.#limits
    if (sequence.isTelling) return []
    return sequence.blockKeys(blockTokens).slice(0, Math.floor((sequence.tokenIds.length - 1) / blockTokens))
  }

  #uncachedCount(sequence: Sequence): number {
    return sequence.tokenIds.length - this.blocks.find(this.#sharedKeys(sequence)).length * this.#limits.blockTokens
  }

  /** Lets others share the blocks that the steps planned so far fill with known tokens. */
  #publish(sequence: Sequence): void {
    const { running } = sequence
    const { blockTokens } = this.#limits
    const fullCount = Math.floor(Math.min(running.computedCount, sequence.tokenIds.length) / blockTokens)
    if (fullCount === running.publishedCount) return
    for (const key of sequence.blockKeys(blockTokens).slice(running.publishedCount, fullCount)) {
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
