/**
 * What a soak asks, each question with the answer it gets alone: conversations whose later turns begin with the earlier
 * ones and their answers, a tenant to each. It does not know who asks when, nor how often.
 */
import assert from 'node:assert/strict'
import type { Engine } from '../../../gpu-worker/engine/engine.ts'
import { type EndReason, type SequenceRequest, serviceClasses } from '../../../gpu-worker/engine/sequence.ts'
import type { Dice } from '../../fixtures/dice.ts'

export interface Question {
  readonly request: Omit<SequenceRequest, 'id'>
  /** What every asker must be told, whatever runs beside it. */
  readonly answer: readonly number[]
  readonly end: EndReason
}

const turnCount = 3
/** One conversation in so many begins with a long document. */
const longEvery = 16
const longTokens = [400, 700] as const
const shortTokens = [2, 72] as const
const nextTurnTokens = [2, 24] as const
const answerTokens = [1, 48] as const
/** Of a vocabulary of 1,024: some answers stop early. */
const stopTokenCount = 6
const tenants = ['tenant-a', 'tenant-b', 'tenant-c']

/** By conversation, each in the order of its turns. The engine is idle and works on nothing else meanwhile. */
export async function askAlone(
  engine: Engine,
  vocabSize: number,
  conversationCount: number,
  draw: Dice,
): Promise<Question[][]> {
  const conversations: Question[][] = []
  for (let index = 0; index < conversationCount; index += 1) {
    const tokens = (range: readonly [number, number]) =>
      Array.from({ length: draw(...range) }, () => draw(1, vocabSize - 1))
    const turns: Question[] = []
    const said = tokens(index % longEvery === 0 ? longTokens : shortTokens)
    for (let turn = 0; turn < turnCount; turn += 1) {
      const request = {
        promptTokenIds: [...said],
        sampling: drawSampling(draw),
        stopTokenIds: Array.from({ length: stopTokenCount }, () => draw(1, vocabSize - 1)),
        answerTokensMax: draw(...answerTokens),
        serviceClass: serviceClasses[draw(0, serviceClasses.length - 1)] ?? 'interactive',
      }
      // Without its tenant: nothing of the prompt is found in the cache.
      const { answer, end } = await answerAlone(engine, request)
      const tenantId = tenants[index % tenants.length] ?? ''
      turns.push({ request: { ...request, tenantId }, answer, end })
      said.push(...answer, ...tokens(nextTurnTokens))
    }
    conversations.push(turns)
  }
  return conversations
}

/** Half greedy, half drawn, with each filter in a part of them, and penalties, least tokens and log probabilities in some. */
function drawSampling(draw: Dice): SequenceRequest['sampling'] {
  const seed = [draw(0, 2 ** 30), draw(0, 2 ** 30)] as const
  const extras = {
    ...(draw.chance(0.25) ? { penalties: { presence: 0.5, frequency: 0.25, repetition: 1.2 } } : {}),
    ...(draw.chance(0.2) ? { minTokens: draw(1, 8) } : {}),
    ...(draw.chance(0.2) ? { logprobCount: draw(0, 5) } : {}),
  }
  if (draw.chance(0.5)) return { temperature: 0, topK: 0, topP: 1, minP: 0, seed, ...extras }
  const [topK, topP, minP] = [draw.chance(0.5) ? 40 : 0, draw.chance(0.5) ? 0.9 : 1, draw.chance(0.2) ? 0.02 : 0]
  return { temperature: draw(5, 12) / 10, topK, topP, minP, seed, ...extras }
}

async function answerAlone(
  engine: Engine,
  request: Omit<SequenceRequest, 'id'>,
): Promise<{ readonly answer: readonly number[]; readonly end: EndReason }> {
  const answer: number[] = []
  let end: EndReason | null = null
  assert.equal(engine.submit({ ...request, id: 'alone' }).kind, 'accepted', 'Cannot ask a question alone')
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind === 'token') answer.push(event.tokenId)
      if (event.kind === 'end') end = event.reason
    }
  }
  assert(end === 'stop' || end === 'length', `A question alone ended with ${end}`)
  return { answer, end }
}
