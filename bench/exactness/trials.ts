/**
 * The requests of `bench exactness`: drawn from a seed, all different, and alike in their beginnings where it pays.
 *
 *   long   a stem that many share, then tokens of its own: beyond 512 positions, where attention has a second split
 *   turn   another trial's prompt and answer, then tokens of its own: found in the cache up to generated tokens
 *   short  tokens of its own, some behind a short stem
 *
 * A turn's prompt holds its parent's answer, so it is known only when that is. Knows nothing of engines or GPUs.
 */
import assert from 'node:assert/strict'
import type { SequenceRequest } from '../../gpu-worker/engine/sequence.ts'
import { type Dice, dice } from '../../test/fixtures/dice.ts'

export interface Trial {
  /** Names it: the first word of its seed, by which its rows are known in any batch. */
  readonly number: number
  readonly kind: 'long' | 'turn' | 'short'
  /** The trial whose prompt and answer its prompt begins with: an earlier one. */
  readonly parent: number | null
  /** Its prompt, or what follows its parent's answer. */
  readonly ownTokenIds: readonly number[]
  readonly sampling: SequenceRequest['sampling']
  /** A mask for each token, if any: a function of the token's index alone. */
  readonly steer: SequenceRequest['steer']
  /** Its prompt is told with log probabilities, if any. */
  readonly promptLogprobCount: number | undefined
  readonly answerTokens: number
}

/** Of every trial: enough that each crosses a block's border while it answers. */
const answerTokens = 32
/** Positions from which attention works in two splits. */
const splitTokens = 512
const stemCount = 4
/** None a whole number of blocks, so that what is shared ends inside one. */
const longStemTokens = [splitTokens - 24, splitTokens + 75] as const
const shortStemTokens = [33, 95] as const
/** Other trials than these begin a family of turns, so that the turns of one mix do not wait for each other. */
const turnEvery = 6
/** Of all trials: each of their tokens waits for the one before. */
const steeredShare = 0.06
/** Their prompts run in steps of their own, so they are few, and short. */
const toldEvery = 36
/** Turns of turns end here. */
const turnPositionsMax = 480

/** At least a third of them are long. */
export function drawTrials(count: number, vocabSize: number, seed: number): Trial[] {
  const draw = dice(seed)
  const tokens = (length: number): number[] => Array.from({ length }, () => draw(0, vocabSize - 1))
  const longStems = Array.from({ length: stemCount }, () => tokens(draw(...longStemTokens)))
  const shortStems = Array.from({ length: stemCount }, () => tokens(draw(...shortStemTokens)))
  const trials: Trial[] = []
  for (let number = 0; number < count; number++) {
    const steer = draw.chance(steeredShare) ? maskOf(number, vocabSize) : undefined
    const promptLogprobCount = number % toldEvery === 1 ? draw(0, 5) : undefined
    const sampling = drawSampling(draw, vocabSize, number)
    const common = { number, sampling, steer, promptLogprobCount, answerTokens }
    const parent = number % turnEvery === turnEvery - 1 ? drawParent(draw, trials) : null
    if (parent !== null) {
      trials.push({ ...common, kind: 'turn', parent, ownTokenIds: tokens(draw(2, 20)) })
    } else if (number % 3 === 0) {
      const ownTokenIds = [...(longStems[draw(0, stemCount - 1)] ?? []), ...tokens(draw(2, 14))]
      trials.push({ ...common, kind: 'long', parent: null, ownTokenIds })
    } else {
      const stem = draw.chance(0.3) ? (shortStems[draw(0, stemCount - 1)] ?? []) : []
      trials.push({ ...common, kind: 'short', parent: null, ownTokenIds: [...stem, ...tokens(draw(2, 48))] })
    }
  }
  assert.equal(new Set(trials.map(({ ownTokenIds }) => ownTokenIds.join())).size, count, 'All trials are different')
  return trials
}

/** `parentAnswer`: what a turn follows. */
export function promptOf(
  { number, parent, ownTokenIds }: Trial,
  parentAnswer: { readonly promptTokenIds: readonly number[]; readonly tokenIds: readonly number[] } | null,
): number[] {
  assert.equal(parentAnswer === null, parent === null, `Trial ${number} follows its parent's answer, if it has one`)
  return [...(parentAnswer?.promptTokenIds ?? []), ...(parentAnswer?.tokenIds ?? []), ...ownTokenIds]
}

function drawParent(draw: Dice, trials: readonly Trial[]): number | null {
  const candidates = trials.filter((trial) => trial.kind !== 'long' && positionsOf(trial, trials) < turnPositionsMax)
  return candidates[draw(0, candidates.length - 1)]?.number ?? null
}

function positionsOf(trial: Trial, trials: readonly Trial[]): number {
  const parent = trial.parent === null ? undefined : trials[trial.parent]
  return trial.ownTokenIds.length + trial.answerTokens + (parent === undefined ? 0 : positionsOf(parent, trials))
}

/** Every field of the sampler row that a request can ask for, alone and together. */
function drawSampling(draw: Dice, vocabSize: number, number: number): SequenceRequest['sampling'] {
  const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [number, draw(0, 2 ** 31)] } as const
  const warm = { ...greedy, temperature: draw(2, 15) / 10 }
  switch (draw(0, 8)) {
    case 0:
    case 1:
      return greedy
    case 2:
      return warm
    case 3:
      return { ...warm, topK: draw(1, 60) }
    case 4:
      return { ...warm, topP: draw(50, 99) / 100 }
    case 5:
      return { ...warm, minP: draw(1, 20) / 100, topK: draw(0, 40) }
    case 6:
      return { ...warm, logitBias: new Map([[draw(0, vocabSize - 1), draw(-5, 5)]]), topP: 0.95 }
    case 7: {
      const penalties = { presence: draw(0, 10) / 10, frequency: draw(0, 10) / 10, repetition: draw(8, 15) / 10 }
      return { ...(draw.chance(0.5) ? greedy : warm), penalties }
    }
    default:
      return { ...warm, logprobCount: draw(0, 5) }
  }
}

/** About half of the tokens, others for each index. */
function maskOf(number: number, vocabSize: number): SequenceRequest['steer'] {
  return (index) => {
    const draw = dice(number * 1000 + index)
    return { allowed: Uint32Array.from({ length: Math.ceil(vocabSize / 32) }, () => draw(1, 2 ** 32 - 1)) }
  }
}
