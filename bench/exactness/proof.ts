/**
 * The proof itself: all trials alone, then all of them in every mix, over the serving Runner in several shapes.
 *
 * Judges nothing: `bench exactness` does, and the tests.
 */
import { join } from 'node:path'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { type MixCounts, type MixRule, runMix } from './mix.ts'
import { drawTrials } from './trials.ts'
import { answersAlone, Judge } from './truth.ts'

export const modelDir = join(import.meta.dirname, '../../models/axk1-tiny')

export type RunnerShape = Omit<LoadOptions, 'checkpoint'>

export interface NamedMix extends Omit<MixRule, 'seed'> {
  readonly name: string
  readonly shape: RunnerShape
}

export interface ProofOptions {
  readonly trialCount: number
  readonly mixes: readonly NamedMix[]
  readonly seed: number
  /** Holds for every Runner of the proof: the free order, in a control. */
  readonly everywhere?: RunnerShape
  readonly onProgress?: (line: string) => void
}

export interface Proof {
  readonly trialCount: number
  /** Of these, how many reach beyond 512 positions. */
  readonly longCount: number
  readonly judge: Judge
  /** Of all mixes together. */
  readonly counts: MixCounts
}

/** One company after another until all have answered alone, all together, and in every mix. */
export async function prove({ trialCount, mixes, seed, everywhere, onProgress }: ProofOptions): Promise<Proof> {
  const startedMs = performance.now()
  const say = (what: string): void => onProgress?.(`${((performance.now() - startedMs) / 1000).toFixed(0)} s: ${what}`)
  const alone = { sequencesMax: 1, stepsInFlight: 1, ...everywhere } as const
  const { trials, answers } = await withRunner(alone, async (runner) => {
    const drawn = drawTrials(trialCount, runner.limits.vocabSize, seed)
    const onAnswer = (count: number): void => {
      if (count % progressEvery === 0) say(`${count} of ${trialCount} alone`)
    }
    return { trials: drawn, answers: await answersAlone(runner, drawn, onAnswer) }
  })
  const judge = new Judge(answers)
  let counts = nothing
  for (const [number, { name, shape, ...rule }] of mixes.entries()) {
    const run = (runner: ModelRunner) => runMix(runner, trials, answers, { ...rule, seed: seed + number }, judge)
    counts = sum(counts, await withRunner({ ...shape, ...everywhere }, run))
    const { differingTokenCount, differingRowCount } = judge
    say(`${name}; ${differingTokenCount} tokens and ${differingRowCount} rows of logits differ so far`)
  }
  const longCount = answers.filter(
    ({ promptTokenIds, tokenIds }) => promptTokenIds.length + tokenIds.length > splitTokens,
  ).length
  return { trialCount, longCount, judge, counts }
}

async function withRunner<T>(shape: RunnerShape, use: (runner: ModelRunner) => Promise<T>): Promise<T> {
  const { runner } = await loadRunner({ checkpoint: modelDir, ...shape })
  try {
    return await use(runner)
  } finally {
    await runner.close()
  }
}

const progressEvery = 100
const splitTokens = 512

const nothing: MixCounts = {
  answerCount: 0,
  preemptionCount: 0,
  promptHitCount: 0,
  cachedTokenCount: 0,
  generatedHitCount: 0,
  cutCount: 0,
  cancelCount: 0,
  resumedCount: 0,
  poisonedBlockCount: 0,
}

function sum(a: MixCounts, b: MixCounts): MixCounts {
  return {
    answerCount: a.answerCount + b.answerCount,
    preemptionCount: a.preemptionCount + b.preemptionCount,
    promptHitCount: a.promptHitCount + b.promptHitCount,
    cachedTokenCount: a.cachedTokenCount + b.cachedTokenCount,
    generatedHitCount: a.generatedHitCount + b.generatedHitCount,
    cutCount: a.cutCount + b.cutCount,
    cancelCount: a.cancelCount + b.cancelCount,
    resumedCount: a.resumedCount + b.resumedCount,
    poisonedBlockCount: a.poisonedBlockCount + b.poisonedBlockCount,
  }
}
