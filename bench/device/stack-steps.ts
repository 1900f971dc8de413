/**
 * Decode steps of a model of hashed weights through the engine: seconds a step, the host's part, and how many experts a step
 * chose.
 *
 * It judges nothing and knows no roof. Each call holds one model and frees it.
 */
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { Batch } from '../../gpu-worker/engine/batch.ts'
import type { Runner, StepResult } from '../../gpu-worker/engine/runner.ts'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { loadHashedModel } from '../k1-layer/hashed-model.ts'
import { decode } from '../peers/engine-streams.ts'
import { meanDistinct } from './decode-steps.ts'
import { drawnAnswers } from './drawn-answers.ts'

export interface StackSizes {
  /** None of a kind: it is left out. */
  readonly streamCounts: Readonly<Record<AnswerKind, readonly number[]>>
  /** Of each stream when the measurement begins: whole blocks. */
  readonly contextTokens: number
  readonly stepCount: number
  readonly rowsMax: number
}

/** What the streams answer: each tokens of its own, or what greedy decoding of hashed weights makes them answer, often alike. */
export const answerKinds = ['own', 'greedy'] as const
export type AnswerKind = (typeof answerKinds)[number]

export interface StepFigures {
  readonly streams: number
  readonly answers: AnswerKind
  readonly stepSeconds: number
  readonly hostSeconds: number
  /** Chosen in one layer of a step, the mean of layers and steps. */
  readonly distinctExperts: number
  readonly dispatchCount: number
}

export interface StackTimes {
  readonly layerCount: number
  readonly adapter: string
  readonly weightBytes: number
  readonly loadSeconds: number
  readonly steps: readonly StepFigures[]
}

const DEADLINE_MS = 280_000
const BLOCK_TOKENS = 32
const COUNTED_STEPS = 2
const tenantId = 'bench'

export async function timeStack(config: ModelConfig, mix: CheckpointMix, sizes: StackSizes): Promise<StackTimes> {
  const { streamCounts, contextTokens, stepCount, rowsMax } = sizes
  const streamsMax = Math.max(...streamCounts.own, ...streamCounts.greedy)
  const startedMs = performance.now()
  // A stream that started first answers while the others start.
  const ownBlocks = 1 + Math.ceil((streamsMax + stepCount + 2) / BLOCK_TOKENS)
  const { runner, adapter, weightBytes } = await loadHashedModel(config, mix, {
    sequencesMax: streamsMax,
    rowsMax,
    blockCount: contextTokens / BLOCK_TOKENS + streamsMax * ownBlocks,
    deadlineMs: DEADLINE_MS,
  })
  const loadSeconds = (performance.now() - startedMs) / 1000
  try {
    const prompts = Array.from({ length: streamsMax }, (_, stream) => [
      ...Array.from({ length: contextTokens }, (_token, at) => (at * 7 + 1) % config.vocabSize),
      (stream * 31 + 2) % config.vocabSize,
    ])
    const steps: StepFigures[] = []
    for (const answers of answerKinds) {
      const counts = streamCounts[answers]
      if (counts.length === 0) continue
      const answering = answers === 'own' ? drawnAnswers(runner) : runner
      const timed: Omit<StepFigures, 'distinctExperts'>[] = []
      const engine = new Engine(answering)
      // Puts the prompt into the cache and compiles what is left.
      await decode(engine, prompts.slice(0, 1), 1, tenantId)
      for (const streams of counts) {
        const { stepMs, hostMs } = await decode(engine, prompts.slice(0, streams), stepCount, tenantId)
        const { dispatchCount } = runner
        timed.push({ streams, answers, stepSeconds: stepMs / 1000, hostSeconds: hostMs / 1000, dispatchCount })
      }
      const distinct = await countExperts(answering, config, prompts, counts)
      for (const own of timed) steps.push({ ...own, distinctExperts: distinct.get(own.streams) ?? NaN })
    }
    const { layerCount } = config
    return { layerCount, adapter: adapter.description, weightBytes, loadSeconds, steps }
  } finally {
    await runner.close()
  }
}

/** Steps that read back what was chosen run alone: an engine of their own, whose cache is empty. */
async function countExperts(
  runner: Runner,
  { expertsPerToken }: ModelConfig,
  prompts: readonly (readonly number[])[],
  streamCounts: readonly number[],
): Promise<Map<number, number>> {
  const counts = new Map<number, number[]>()
  const watched: Runner = {
    limits: { ...runner.limits, stepsInFlightMax: 1 },
    fingerprint: runner.fingerprint,
    run: async (batch: Batch): Promise<StepResult> => {
      const streams = batch.sequences.length
      const isDecode = streamCounts.includes(streams) && batch.sequences.every(({ tokenIds }) => tokenIds.length === 1)
      if (!isDecode) return runner.run(batch)
      const result = await runner.run({ ...batch, capture: { logits: 'none', experts: true } })
      const mean = meanDistinct(result.experts ?? new Int32Array(), streams * expertsPerToken)
      counts.set(streams, [...(counts.get(streams) ?? []), mean])
      return result
    },
    close: () => runner.close(),
  }
  const engine = new Engine(watched)
  await decode(engine, prompts.slice(0, 1), 1, tenantId)
  for (const streams of streamCounts) await decode(engine, prompts.slice(0, streams), COUNTED_STEPS, tenantId)
  return new Map([...counts].map(([streams, own]) => [streams, own.reduce((sum, n) => sum + n, 0) / own.length]))
}
