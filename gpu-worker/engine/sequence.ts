/**
 * One sequence: a prompt, the answer growing behind it, and how far its KV entries exist.
 *
 * It does not know its batch-mates, who decides when it runs, or what its tokens mean as text.
 */
import assert from 'node:assert/strict'
import type { BlockId, SamplerRow } from './batch.ts'

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
}

export type EndReason =
  /** A stop token, or the caller's stop string. */
  | 'stop'
  /** `answerTokensMax` or the context is reached. */
  | 'length'
  | 'cancelled'
  /** A NaN or infinite logit. */
  | 'not-finite'

export interface Running {
  readonly kind: 'running'
  /** In order of position; owned here until the sequence leaves this state. */
  readonly blocks: BlockId[]
  /** Positions 0 … computedCount − 1 have their KV entries. */
  computedCount: number
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
  /** Every known token by position: the prompt, then the answer. */
  readonly tokenIds: number[]
  state: SequenceState = { kind: 'waiting' }
  readonly #promptCount: number
  readonly #answerCountMax: number
  readonly #sampling: Omit<SamplerRow, 'index'>
  readonly #stopTokenIds: ReadonlySet<number>

  /** `positionsMax` bounds prompt and answer together; the prompt is below it. */
  constructor(request: SequenceRequest, arrival: number, positionsMax: number) {
    const { promptTokenIds, resumedTokenIds = [], answerTokensMax } = request
    assert(promptTokenIds.length > 0, 'Cannot start a sequence: its prompt is empty')
    assert(answerTokensMax > 0, `Cannot start a sequence: answerTokensMax is ${answerTokensMax}`)
    assert(promptTokenIds.length < positionsMax, 'Cannot start a sequence: its prompt leaves no room to answer')
    this.id = request.id
    this.arrival = arrival
    this.isIsolated = request.isolated ?? false
    this.tokenIds = [...promptTokenIds, ...resumedTokenIds]
    this.#promptCount = promptTokenIds.length
    this.#answerCountMax = Math.min(answerTokensMax, positionsMax - promptTokenIds.length)
    this.#sampling = request.sampling
    this.#stopTokenIds = new Set(request.stopTokenIds)
  }

  /** Answer tokens so far, resumed ones included: also the index of the token that comes next. */
  get answerCount(): number {
    return this.tokenIds.length - this.#promptCount
  }

  /** Known tokens whose KV entries do not exist yet: 1 is a decode, more is a prefill. */
  get pendingCount(): number {
    return this.tokenIds.length - (this.state.kind === 'running' ? this.state.computedCount : 0)
  }

  /** Why the answer ends with its last token; null while it goes on. True of resumed tokens too. */
  get answerEnd(): 'stop' | 'length' | null {
    if (this.answerCount === 0) return null
    if (this.#stopTokenIds.has(this.tokenIds.at(-1) ?? -1)) return 'stop'
    return this.answerCount >= this.#answerCountMax ? 'length' : null
  }

  nextSampler(): SamplerRow {
    return { ...this.#sampling, index: this.answerCount }
  }
}
