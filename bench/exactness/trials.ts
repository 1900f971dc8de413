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
import type { SamplingRequest } from './watched-runner.ts'
import { type Dice, dice } from '../../test/fixtures/dice.ts'

export interface Trial {
  /** Names it: the first word of its seed, by which its rows are known in any batch. */
  readonly number: number
  readonly kind: 'long' | 'turn' | 'short'
  /** The trial whose prompt and answer its prompt begins with: an earlier one. */
  readonly parent: number | null
  /** Its prompt, or what follows its parent's answer. */
  readonly ownTokenIds: readonly number[]
  readonly sampling: SamplingRequest
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
    const common = { number, sampling: drawSampling(draw, vocabSize, number), answerTokens }
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

/** `answers`: of the trials before it, in order. */
export function promptOf(trial: Trial, trials: readonly Trial[], answers: readonly (readonly number[])[]): number[] {
  if (trial.parent === null) return [...trial.ownTokenIds]
  const parent = trials[trial.parent]
  const answer = answers[trial.parent]
  assert(parent !== undefined && answer !== undefined, `Cannot write turn ${trial.number}: its parent has no answer`)
  return [...promptOf(parent, trials, answers), ...answer, ...trial.ownTokenIds]
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
function drawSampling(draw: Dice, vocabSize: number, number: number): SamplingRequest {
  const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [number, draw(0, 2 ** 31)] } as const
  const warm = { ...greedy, temperature: draw(2, 15) / 10 }
  switch (draw(0, 7)) {
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
    default:
      return { ...warm, logprobCount: draw(0, 5) }
  }
}
