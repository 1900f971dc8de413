/**
 * The proof itself: all trials alone, then all of them in every mix, over the serving Runner in several shapes.
 *
 * Judges nothing: `bench exactness` does, and the tests.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { inLanes } from './lanes.ts'
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
  const alone = lanes.map(() => ({ sequencesMax: 1, stepsInFlight: 1, ...everywhere }) as const)
  const { trials, answers } = await withRunners(alone, async (runners) => {
    const drawn = drawTrials(trialCount, runners[0]?.limits.vocabSize ?? 0, seed)
    const onAnswer = (count: number): void => {
      if (count % progressEvery === 0) say(`${count} of ${trialCount} alone`)
    }
    return { trials: drawn, answers: await answersAlone(runners, drawn, onAnswer) }
  })
  const judge = new Judge(answers)
  let counts = nothing
  await inLanes(lanes, mixes, async (_, { name, shape, ...rule }, number) => {
    await withRunners([{ ...shape, ...everywhere }], async ([runner]) => {
      assert(runner !== undefined, 'A mix has its Runner')
      const own = await runMix(runner, trials, answers, { ...rule, seed: seed + number }, judge)
      counts = sum(counts, own)
    })
    const { differingTokenCount, differingRowCount } = judge
    say(`${name}; ${differingTokenCount} tokens and ${differingRowCount} rows of logits differ so far`)
  })
  const longCount = answers.filter(
    ({ promptTokenIds, tokenIds }) => promptTokenIds.length + tokenIds.length > splitTokens,
  ).length
  return { trialCount, longCount, judge, counts }
}

async function withRunners<T>(
  shapes: readonly RunnerShape[],
  use: (runners: readonly ModelRunner[]) => Promise<T>,
): Promise<T> {
  const runners: ModelRunner[] = []
  try {
    for (const shape of shapes) runners.push((await loadRunner({ checkpoint: modelDir, ...shape })).runner)
    return await use(runners)
  } finally {
    for (const runner of runners) await runner.close()
  }
}

/** Runners at work at once: while one waits for its GPU, the other plans. */
const lanes = [0, 1] as const
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
