/**
 * One sequence: a prompt, the answer growing behind it, and how far its KV entries exist.
 *
 * It does not know its batch-mates, who decides when it runs, or what its tokens mean as text.
 */
import assert from 'node:assert/strict'
import type { BlockId, SamplerRow } from './batch.ts'
import { blockKey, type PrefixKey } from './prefix-cache.ts'

/** In order of urgency: who waits for the first token, who for an answer behind long thinking, who for the end. */
export const serviceClasses = ['interactive', 'think', 'batch'] as const
export type ServiceClass = (typeof serviceClasses)[number]

/** What the caller asks the engine for. Token ids are below the vocabulary's size. */
export interface SequenceRequest {
  /** Unique among the sequences the engine holds. */
  readonly id: string
  readonly promptTokenIds: readonly number[]
  /** Answer tokens that exist already, from the log of a taken-over job: they are prefilled, not sampled. */
  readonly resumedTokenIds?: readonly number[]
  readonly sampling: Omit<SamplerRow, 'index'>
  /** Any of these ends the answer, and is its last token. */
  readonly stopTokenIds: readonly number[]
  /** Answer tokens, resumed ones included; the context may end the answer before. */
  readonly answerTokensMax: number
  /** Runs alone: nothing runs beside it. For jobs suspected of killing their worker. */
  readonly isolated?: boolean
  /** Whose KV it may share: a tenant's sequences share among themselves. Absent: shares with nobody. */
  readonly tenantId?: string
  /** 'interactive' if absent. */
  readonly serviceClass?: ServiceClass
  /** When its wait began, on the clock of `Engine.step`. Absent, or later: when a step picks it up. */
  readonly arrivedMs?: number
  /** The host needs each token before it can say how to sample the next (a grammar's mask): it runs in every second step. */
  readonly isSteered?: boolean
}

export type EndReason =
  /** A stop token, or the caller's stop string. */
  | 'stop'
  /** `answerTokensMax` or the context is reached. */
  | 'length'
  | 'cancelled'
  /** A NaN or infinite logit. */
  | 'not-finite'
  /** It waited when the engine was drained: another may run it. */
  | 'handed-back'

export interface Running {
  readonly kind: 'running'
  /** In order of position; owned here until the sequence leaves this state. */
  readonly blocks: BlockId[]
  /** Positions 0 … computedCount − 1 have their KV entries once the steps given to the Runner have run. */
  computedCount: number
  /** Blocks from the first on that the prefix cache knows: nobody writes them any more. */
  publishedCount: number
}

export type SequenceState =
  | { readonly kind: 'waiting' }
  | Running
  | { readonly kind: 'ended'; readonly reason: EndReason }

export class Sequence {
  readonly id: string
  /** Counts submissions: the lower, the older. */
  readonly arrival: number
  readonly isIsolated: boolean
  readonly isSteered: boolean
  readonly serviceClass: ServiceClass
  readonly promptCount: number
  /** Every known token by position: the prompt, then the answer. */
  readonly tokenIds: number[]
  state: SequenceState = { kind: 'waiting' }
  /** Known when the scheduler takes it in. */
  arrivedMs: number
  dueMs = Infinity
  /** It has run: while it waits, it was preempted. */
  hasStarted = false
  /** Prompt tokens found in the prefix cache when it first ran. */
  cachedTokenCount = 0
  /** The plan in flight that samples it, and its position there: that token comes behind `tokenIds`. */
  inFlight: { readonly plan: unknown; readonly position: number } | null = null
  readonly #answerCountMax: number
  readonly #sampling: Omit<SamplerRow, 'index'>
  readonly #stopTokenIds: ReadonlySet<number>
  /** Root, then one a full block, as far as asked for; null: shares nothing. */
  readonly #keys: PrefixKey[] | null

  /** `positionsMax` bounds prompt and answer together; the prompt is below it. `root` of its prefix keys, if it shares. */
  constructor(request: SequenceRequest, arrival: number, positionsMax: number, root: PrefixKey | null = null) {
    const { promptTokenIds, resumedTokenIds = [], answerTokensMax } = request
    assert(promptTokenIds.length > 0, 'Cannot start a sequence: its prompt is empty')
    assert(answerTokensMax > 0, `Cannot start a sequence: answerTokensMax is ${answerTokensMax}`)
    assert(promptTokenIds.length < positionsMax, 'Cannot start a sequence: its prompt leaves no room to answer')
    this.id = request.id
    this.arrival = arrival
    this.isIsolated = request.isolated ?? false
    this.isSteered = request.isSteered ?? false
    this.serviceClass = request.serviceClass ?? 'interactive'
    this.promptCount = promptTokenIds.length
    this.tokenIds = [...promptTokenIds, ...resumedTokenIds]
    this.arrivedMs = request.arrivedMs ?? Infinity
    this.#answerCountMax = Math.min(answerTokensMax, positionsMax - promptTokenIds.length)
    this.#sampling = request.sampling
    this.#stopTokenIds = new Set(request.stopTokenIds)
    this.#keys = root === null ? null : [root]
  }

  /** Answer tokens so far, resumed ones included: also the index of the token that comes next. */
  get answerCount(): number {
    return this.tokenIds.length - this.promptCount
  }

  /** Tokens whose KV entries do not exist yet, the one in flight included: 1 is a decode, more is a prefill. */
  get pendingCount(): number {
    const tokenCount = this.tokenIds.length + (this.inFlight === null ? 0 : 1)
    return tokenCount - (this.state.kind === 'running' ? this.state.computedCount : 0)
  }

  /** Whether another row is to be run before the token in flight is known: it is not if that token is the last anyway. */
  get isRunnable(): boolean {
    return this.inFlight === null || (!this.isSteered && this.answerCount + 1 < this.#answerCountMax)
  }

  /** Why the answer ends with its last token; null while it goes on. True of resumed tokens too. */
  get answerEnd(): 'stop' | 'length' | null {
    if (this.answerCount === 0) return null
    if (this.#stopTokenIds.has(this.tokenIds.at(-1) ?? -1)) return 'stop'
    return this.answerCount >= this.#answerCountMax ? 'length' : null
  }

  nextSampler(): SamplerRow {
    return { ...this.#sampling, index: this.answerCount + (this.inFlight === null ? 0 : 1) }
  }

  /** Keys of its first `count` blocks, whose tokens are known; none if it shares nothing. */
  blockKeys(count: number, blockTokens: number): readonly PrefixKey[] {
    if (this.#keys === null) return []
    for (let before = this.#keys.at(-1); before !== undefined && this.#keys.length <= count;) {
      const start = (this.#keys.length - 1) * blockTokens
      before = blockKey(before, this.tokenIds.slice(start, start + blockTokens))
      this.#keys.push(before)
    }
    return this.#keys.slice(1, count + 1)
  }
}
