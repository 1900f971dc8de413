/**
 * The sequences of one simulated life: what each asks, when, and what it gets alone, written down without an engine.
 *
 * Many begin as another did: with its prompt, with its prompt and a part of its answer, or all at once (n > 1).
 */
import assert from 'node:assert/strict'
import type { EngineEvent, Submission } from '../../gpu-worker/engine/engine.ts'
import { type EndReason, type SequenceRequest, serviceClasses } from '../../gpu-worker/engine/sequence.ts'
import type { FakeRunner } from '../fake-runner.ts'
import type { Dice } from '../fixtures/dice.ts'

/** A sequence's script and what was seen of it. */
export interface Life {
  readonly request: SequenceRequest
  readonly arrivalHalf: number
  readonly expected: { readonly tokenIds: readonly number[]; readonly reason: EndReason }
  /** Answer tokens known to be right, resumed ones first. */
  readonly answer: number[]
  submission: Submission['kind'] | 'none'
  /** Order of submission. */
  serial: number
  /** Set when a step has picked it up. */
  dueMs: number
  hasStarted: boolean
  /** The step by which it has ended at the latest: set when it is accepted. */
  lastTick: number
  asked: 'cancelled' | 'stop' | null
  /** Samples that the Runner made for it, told or not. */
  sampleCount: number
  /** Prompt tokens whose log probabilities were told, and the first, which has none. */
  toldCount: number
  end: Extract<EngineEvent, { kind: 'end' }>['reason'] | null
}

export const stopTokenId = 0
export const vocabSize = 64
const penalties = { presence: 0.5, frequency: 0.25, repetition: 1.5 }
const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0 }
const tenants = ['acme', 'zenith', undefined] as const

/** @param scripts is told where each one stops or breaks, before anything runs. */
export function castLives(
  draw: Dice,
  fake: FakeRunner,
  tokensMax: number,
  scripts: Map<number, { readonly stop: number; readonly broken: number }>,
): Life[] {
  const lives: Life[] = []
  const count = draw(1, 12)
  while (lives.length < count) {
    const number = lives.length
    scripts.set(number, { stop: draw.chance(0.5) ? draw(0, 20) : -1, broken: draw.chance(0.05) ? draw(0, 10) : -1 })
    const arrivalHalf = draw(0, 60)
    const begun = lives[draw(0, lives.length * 2)]
    const promptTokenIds = drawPrompt(draw, begun, tokensMax, fake.limits.contextTokensMax)
    // A stranger with the same prompt now and then.
    const tenantId = draw.chance(0.8) ? begun?.request.tenantId : undefined
    const part = { number, arrivalHalf, promptTokenIds, tenantId }
    lives.push(castLife(draw, fake, tokensMax, part, scripts.get(number)?.broken))
    // n > 1: the same prompt with other seeds, all at once.
    const shared = lives.at(-1)?.request.tenantId
    while (lives.length < count && draw.chance(0.15)) {
      const twin = { number: lives.length, arrivalHalf, promptTokenIds, tenantId: shared }
      scripts.set(twin.number, { stop: draw(0, 20), broken: -1 })
      lives.push(castLife(draw, fake, tokensMax, twin))
    }
  }
  return lives
}

/** @param begun whose beginning it shares, if any. */
function drawPrompt(draw: Dice, begun: Life | undefined, tokensMax: number, contextTokensMax: number): number[] {
  const count = draw.chance(0.85) ? draw(1, Math.ceil(tokensMax / 4)) : draw(1, contextTokensMax + 2)
  const fresh = Array.from({ length: count }, () => draw(0, vocabSize - 1))
  if (begun === undefined) return fresh
  const { request, expected } = begun
  const turns = [...request.promptTokenIds, ...expected.tokenIds]
  return [...turns.slice(0, draw(0, turns.length)), ...fresh.slice(0, draw(0, 4))].concat(fresh[0] ?? 1)
}

interface Part {
  readonly number: number
  readonly arrivalHalf: number
  readonly promptTokenIds: readonly number[]
  readonly tenantId?: string | undefined
}

function castLife(draw: Dice, fake: FakeRunner, tokensMax: number, part: Part, brokenIndex = -1): Life {
  const { number, arrivalHalf, promptTokenIds } = part
  // A long thinker asks for all the context there is.
  const answerTokensMax = draw.chance(0.1) ? tokensMax : draw(1, 30)
  const seed = [1, number] as const
  const tokenIds: number[] = []
  let reason: EndReason = 'length'
  while (tokenIds.length < Math.min(answerTokensMax, tokensMax - promptTokenIds.length) && reason === 'length') {
    const index = tokenIds.length
    if (index === brokenIndex) {
      reason = 'not-finite'
      break
    }
    tokenIds.push(fake.tokenAt(seed, index))
    if (tokenIds.at(-1) === stopTokenId) reason = 'stop'
  }
  const resumedTokenIds = draw.chance(0.25) ? tokenIds.slice(0, draw(0, tokenIds.length)) : []
  const tenantId = part.tenantId ?? tenants[draw(0, tenants.length - 1)]
  const serviceClass = serviceClasses[draw(0, serviceClasses.length)]
  const request: SequenceRequest = {
    id: `sequence-${number}`,
    promptTokenIds,
    resumedTokenIds,
    sampling: {
      ...sampling,
      seed,
      ...(draw.chance(0.1) ? { penalties, minTokens: 2 } : {}),
      ...(draw.chance(0.2) ? { logprobCount: draw(0, 3) } : {}),
    },
    stopTokenIds: [stopTokenId],
    answerTokensMax,
    isolated: draw.chance(0.05),
    ...(draw.chance(0.1) ? { steer } : {}),
    ...(draw.chance(0.1) ? { promptLogprobCount: draw(0, 3) } : {}),
    ...(tenantId === undefined ? {} : { tenantId }),
    ...(serviceClass === undefined ? {} : { serviceClass }),
    ...(draw.chance(0.3) ? { arrivedMs: draw(0, 300) } : {}),
  }
  const unseen = { submission: 'none', serial: 0, dueMs: Infinity, hasStarted: false, lastTick: Infinity } as const
  const rest = { asked: null, sampleCount: 0, toldCount: 1, end: null } as const
  const life: Life = {
    request,
    arrivalHalf,
    expected: { tokenIds, reason },
    answer: [...resumedTokenIds],
    ...unseen,
    ...rest,
  }
  return life

  /** Forces what would be sampled anyway: it may be asked only when every token before has been told. */
  function steer(index: number) {
    assert.equal(index, life.answer.length, `${life.request.id} is steered before its last token was told`)
    return { forcedToken: fake.tokenAt(seed, index) }
  }
}
