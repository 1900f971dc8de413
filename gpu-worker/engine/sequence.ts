/**
 * One sequence: a prompt, the answer growing behind it, how far its KV entries exist, and what the next token needs.
 *
 *   tokenIds    | prompt ············· | answer ······ |   then the token in flight, if a step samples it
 *   computed    |~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~|          what is behind is pending: 1 is a decode, more a prefill
 *   published   |~~~~~~~~~~~~~~~~|                         whole blocks
 *
 * It does not know its batch-mates, who decides when it runs, or what its tokens mean as text.
 */
import assert from 'node:assert/strict'
import type { BlockId, Penalties, SamplerRow, SequenceRows } from './batch.ts'
import { blockKey, type PrefixKey } from './prefix-key.ts'

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
  readonly sampling: Sampling
  /** Any of these ends the answer, and is its last token; none is chosen below `sampling.minTokens`. */
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
  /** Tell the log probability of each prompt token but the first, and of so many of the likeliest in its place. */
  readonly promptLogprobCount?: number
  /** Asked for each answer token when all before it have been told (a grammar's mask). It must not throw. */
  readonly steer?: (index: number) => Steering
}

export type Steering = Pick<SamplerRow, 'allowed' | 'forcedToken'>

/** How to choose every answer token: a sampler row without what depends on the tokens so far. */
export type Sampling = Omit<SamplerRow, 'index' | 'penalties' | 'stopTokenIds'> & {
  readonly penalties?: Omit<Penalties, 'promptTokens' | 'answerCounts'>
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
  /** Positions 0 … computedCount − 1 have their KV entries once the steps planned so far have run. */
  computedCount: number
  /** Blocks from the first on that the prefix cache knows: nobody writes them any more. */
  publishedCount: number
}

export type SequenceState = { readonly kind: 'waiting' } | Running | { readonly kind: 'ended' }

export class Sequence {
  readonly request: SequenceRequest
  /** Counts submissions: the lower, the older. */
  readonly arrival: number
  readonly serviceClass: ServiceClass
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
  /** Prompt positions whose log probabilities were told; the first has none. */
  toldCount = 1
  /** Its position in the step in flight that samples its next token; null when every token is known. */
  fedFrom: number | null = null
  readonly #answerCountMax: number
  readonly #seen: Pick<Penalties, 'promptTokens'> & { readonly answerCounts: Map<number, number> }
  /** Root, then one a full block of known tokens, as far as asked for; null: shares nothing. */
  readonly #keys: PrefixKey[] | null

  /** `positionsMax` bounds prompt and answer together; the prompt is below it. `root` of its prefix keys, if it shares. */
  constructor(request: SequenceRequest, arrival: number, positionsMax: number, root: PrefixKey | null = null) {
    const { promptTokenIds, resumedTokenIds = [], answerTokensMax, sampling } = request
    assert(promptTokenIds.length > 0, 'Cannot start a sequence: its prompt is empty')
    assert(answerTokensMax > 0, `Cannot start a sequence: answerTokensMax is ${answerTokensMax}`)
    assert(promptTokenIds.length < positionsMax, 'Cannot start a sequence: its prompt leaves no room to answer')
    this.request = request
    this.arrival = arrival
    this.serviceClass = request.serviceClass ?? 'interactive'
    this.tokenIds = [...promptTokenIds]
    this.arrivedMs = request.arrivedMs ?? Infinity
    this.#answerCountMax = Math.min(answerTokensMax, positionsMax - promptTokenIds.length)
    // What stands in the prompt alone concerns no other penalty: a step is spared a change for each of its tokens.
    const isRepetitionPenal = (sampling.penalties?.repetition ?? 1) !== 1
    this.#seen = { promptTokens: new Set(isRepetitionPenal ? promptTokenIds : []), answerCounts: new Map() }
    this.#keys = root === null ? null : [root]
    for (const tokenId of resumedTokenIds) this.append(tokenId)
  }

  get id(): string {
    return this.request.id
  }

  get promptCount(): number {
    return this.request.promptTokenIds.length
  }

  /** Answer tokens so far, resumed ones included: also the index of the token that comes next. */
  get answerCount(): number {
    return this.tokenIds.length - this.promptCount
  }

  /** @throws AssertionError unless it runs. */
  get running(): Running {
    assert(this.state.kind === 'running', `Expected a running sequence, got ${this.state.kind}`)
    return this.state
  }

  /** Tokens whose KV entries do not exist yet, the one in flight included. */
  get pendingCount(): number {
    const tokenCount = this.tokenIds.length + (this.fedFrom === null ? 0 : 1)
    return tokenCount - (this.state.kind === 'running' ? this.state.computedCount : 0)
  }

  get isPrefill(): boolean {
    return this.pendingCount > 1
  }

  /** Whether another row is to be run before the token in flight is known: not if its sampler needs that, or it is the last. */
  get isRunnable(): boolean {
    const { steer, sampling } = this.request
    const needsEveryToken = steer !== undefined || sampling.penalties !== undefined
    return this.fedFrom === null || (!needsEveryToken && this.answerCount + 1 < this.#answerCountMax)
  }

  /** Whether its prompt is to be run in steps that tell log probabilities. Its last token has none to tell. */
  get isTelling(): boolean {
    return this.request.promptLogprobCount !== undefined && this.toldCount < this.promptCount
  }

  /** Why the answer ends with its last token; null while it goes on. True of resumed tokens too. */
  get answerEnd(): 'stop' | 'length' | null {
    if (this.answerCount === 0) return null
    if (this.request.stopTokenIds.includes(this.tokenIds.at(-1) ?? -1)) return 'stop'
    return this.answerCount >= this.#answerCountMax ? 'length' : null
  }

  append(tokenId: number): void {
    const { answerCounts } = this.#seen
    this.tokenIds.push(tokenId)
    answerCounts.set(tokenId, (answerCounts.get(tokenId) ?? 0) + 1)
  }

  /** Its next rows, at most so many; they count as computed from now on. Its blocks cover them. */
  take(rowCountMax: number): SequenceRows {
    const { running, fedFrom } = this
    const { blocks, computedCount: start } = running
    const { promptLogprobCount: count } = this.request
    const untoldCount = this.isTelling ? this.promptCount - 1 - start : Infinity
    const end = start + Math.min(this.pendingCount, untoldCount, rowCountMax)
    const sampler = end - start === this.pendingCount ? this.#nextSampler() : null
    running.computedCount = end
    if (fedFrom !== null) return { tokenIds: [0], start, blocks, sampler, fedFrom }
    const rows = { tokenIds: this.tokenIds.slice(start, end), start, blocks, sampler }
    if (count === undefined || untoldCount === Infinity) return rows
    return { ...rows, promptLogprobs: { count, nextTokenIds: this.tokenIds.slice(start + 1, end + 1) } }
  }

  /** Keys of its blocks that are full of known tokens, in order; none if it shares nothing. */
  blockKeys(blockTokens: number): readonly PrefixKey[] {
    if (this.#keys === null) return []
    const fullCount = Math.floor(this.tokenIds.length / blockTokens)
    for (let before = this.#keys.at(-1); before !== undefined && this.#keys.length <= fullCount;) {
      const start = (this.#keys.length - 1) * blockTokens
      before = blockKey(before, this.tokenIds.slice(start, start + blockTokens))
      this.#keys.push(before)
    }
    return this.#keys.slice(1)
  }

  #nextSampler(): SamplerRow {
    const { sampling, steer, stopTokenIds } = this.request
    const { penalties, ...plain } = sampling
    const index = this.answerCount + (this.fedFrom === null ? 0 : 1)
    return {
      ...plain,
      index,
      ...(plain.minTokens === undefined ? {} : { stopTokenIds }),
      ...(penalties === undefined ? {} : { penalties: { ...penalties, ...this.#seen } }),
      ...steer?.(index),
    }
  }
}
