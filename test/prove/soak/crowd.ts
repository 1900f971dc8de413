/**
 * Those who ask during a soak: each draws a question, hears its answer, and some leave before its end.
 *
 * It compares every token and every end with what the question gets alone. It does not know time, steps or memory.
 */
import assert from 'node:assert/strict'
import type { Engine, EngineEvent } from '../../../gpu-worker/engine/engine.ts'
import type { Dice } from '../../fixtures/dice.ts'
import type { Question } from './questions.ts'

export interface CrowdCounts {
  requests: number
  answered: number
  cancelled: number
  finished: number
  tokens: number
  /** Starts that found a part of their prompt in the cache. */
  hits: number
  /** Starts that found a token there which an earlier answer's steps computed. */
  answerHits: number
}

interface Asker {
  readonly question: Question
  /** Earlier turns' prompt: what is found beyond it was computed as an answer. */
  readonly askedBefore: number
  /** Leaves once so many tokens are told; null stays. */
  readonly leavesAt: { readonly tokenCount: number; readonly how: 'cancelled' | 'stop' } | null
  tokenCount: number
  hasLeft: boolean
}

const leaveShare = 0.1
const cancelShare = 0.6
/** Belongs to no tenant, and so shares nothing: its prompt is always computed. */
const strangerShare = 0.5
/** Conversations with a long document are asked this rarely, of all draws of one. */
const longShare = 0.15
const longTokensMin = 400

export class Crowd {
  readonly counts: CrowdCounts = {
    requests: 0,
    answered: 0,
    cancelled: 0,
    finished: 0,
    tokens: 0,
    hits: 0,
    answerHits: 0,
  }
  readonly #engine: Engine
  readonly #conversations: readonly (readonly Question[])[]
  readonly #draw: Dice
  readonly #askers = new Map<string, Asker>()

  constructor(engine: Engine, conversations: readonly (readonly Question[])[], draw: Dice) {
    this.#engine = engine
    this.#conversations = conversations
    this.#draw = draw
  }

  ask(nowMs: number): void {
    const draw = this.#draw
    const turns = this.#drawConversation()
    const turn = draw(0, turns.length - 1)
    const question = turns[turn]
    assert(question !== undefined, 'A conversation has turns')
    const id = `${this.counts.requests}`
    const how = draw.chance(cancelShare) ? 'cancelled' : 'stop'
    const leavesAt = draw.chance(leaveShare) ? ({ tokenCount: draw(0, question.answer.length), how } as const) : null
    const askedBefore = turns[turn - 1]?.request.promptTokenIds.length ?? question.request.promptTokenIds.length
    const { tenantId, ...request } = question.request
    const sharing = draw.chance(strangerShare) || tenantId === undefined ? {} : { tenantId }
    const submission = this.#engine.submit({ ...request, ...sharing, id, arrivedMs: nowMs })
    assert.equal(submission.kind, 'accepted', `Request ${id} was not accepted`)
    this.#askers.set(id, { question, askedBefore, leavesAt, tokenCount: 0, hasLeft: false })
    this.counts.requests += 1
  }

  /** Who had to leave before a token came leaves at the second call, in mid-prefill or while it waits. */
  take(events: readonly EngineEvent[]): void {
    for (const [id, asker] of this.#askers) this.#mayLeave(id, asker)
    for (const event of events) {
      const asker = this.#askers.get(event.id)
      assert(asker !== undefined, `Request ${event.id} is told of after its end`)
      this.#hear(asker, event)
    }
  }

  #drawConversation(): readonly Question[] {
    const conversations = this.#conversations
    for (;;) {
      const turns = conversations[this.#draw(0, conversations.length - 1)] ?? []
      const isLong = (turns[0]?.request.promptTokenIds.length ?? 0) >= longTokensMin
      if (!isLong || this.#draw.chance(longShare)) return turns
    }
  }

  #hear(asker: Asker, event: EngineEvent): void {
    const { answer, end } = asker.question
    if (event.kind === 'start') {
      if (event.cachedTokenCount > 0) this.counts.hits += 1
      if (event.cachedTokenCount > asker.askedBefore) this.counts.answerHits += 1
    } else if (event.kind === 'token') {
      assert.equal(event.index, asker.tokenCount, `I1, I2: request ${event.id} expects another index`)
      assert.equal(event.tokenId, answer[event.index], `I14: token ${event.index} of request ${event.id}`)
      asker.tokenCount += 1
      this.counts.tokens += 1
    } else if (event.kind === 'end') {
      this.#askers.delete(event.id)
      const hasAll = event.reason === end && asker.tokenCount === answer.length
      const asLeft = asker.hasLeft && event.reason === asker.leavesAt?.how
      assert(hasAll || asLeft, `I4: request ${event.id} ended with ${event.reason} after ${asker.tokenCount} tokens`)
      this.counts[hasAll ? 'answered' : event.reason === 'cancelled' ? 'cancelled' : 'finished'] += 1
    }
  }

  #mayLeave(id: string, asker: Asker): void {
    const { leavesAt } = asker
    if (leavesAt === null || asker.hasLeft || asker.tokenCount < leavesAt.tokenCount) return
    asker.hasLeft = true
    if (leavesAt.how === 'cancelled') this.#engine.cancel(id)
    else this.#engine.finish(id)
  }
}
