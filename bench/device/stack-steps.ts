/**
 * Decode steps of a model of hashed weights through the engine: seconds a step, and how many experts a step chose.
 *
 * It judges nothing and knows no roof. Each call holds one model and frees it.
 */
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { Batch } from '../../gpu-worker/engine/batch.ts'
import type { Runner, StepResult } from '../../gpu-worker/engine/runner.ts'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadHashedModel } from '../k1-layer/hashed-model.ts'
import { decode } from '../peers/engine-streams.ts'

export interface StackSizes {
  readonly streamCounts: readonly number[]
  /** Of each stream when the measurement begins: whole blocks. */
  readonly contextTokens: number
  readonly stepCount: number
  readonly rowsMax: number
}

export interface StackTimes {
  readonly layerCount: number
  readonly adapter: string
  readonly weightBytes: number
  readonly loadSeconds: number
  /** By streams. */
  readonly stepSeconds: ReadonlyMap<number, number>
  /** By streams: chosen in one layer of a step, the mean of layers and steps. */
  readonly distinctExperts: ReadonlyMap<number, number>
  /** Of a step of most streams. */
  readonly dispatchCount: number
}

const DEADLINE_MS = 280_000
const BLOCK_TOKENS = 32
const COUNTED_STEPS = 2
const tenantId = 'bench'

export async function timeStack(config: ModelConfig, mix: CheckpointMix, sizes: StackSizes): Promise<StackTimes> {
  const { streamCounts, contextTokens, stepCount, rowsMax } = sizes
  const streamsMax = Math.max(...streamCounts)
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
    const engine = new Engine(runner)
    // Puts the prompt into the cache and compiles what is left.
    await decode(engine, prompts.slice(0, 1), 1, tenantId)
    const stepSeconds = new Map<number, number>()
    for (const streams of streamCounts) {
      const { stepMs } = await decode(engine, prompts.slice(0, streams), stepCount, tenantId)
      stepSeconds.set(streams, stepMs / 1000)
    }
    const { dispatchCount } = runner
    const distinct = await countExperts(runner, config, prompts, streamCounts)
    const { layerCount } = config
    const { description } = adapter
    return {
      layerCount,
      adapter: description,
      weightBytes,
      loadSeconds,
      stepSeconds,
      distinctExperts: distinct,
      dispatchCount,
    }
  } finally {
    await runner.close()
  }
}

/** Steps that read back what was chosen run alone: an engine of their own, whose cache is empty. */
async function countExperts(
  runner: ModelRunner,
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
      const ofLayer = streams * expertsPerToken
      const chosen = result.experts ?? new Int32Array()
      const own = counts.get(streams) ?? []
      for (let at = 0; at < chosen.length; at += ofLayer) own.push(new Set(chosen.subarray(at, at + ofLayer)).size)
      counts.set(streams, own)
      return result
    },
    close: () => runner.close(),
  }
  const engine = new Engine(watched)
  await decode(engine, prompts.slice(0, 1), 1, tenantId)
  for (const streams of streamCounts) await decode(engine, prompts.slice(0, streams), COUNTED_STEPS, tenantId)
  return new Map([...counts].map(([streams, own]) => [streams, own.reduce((sum, n) => sum + n, 0) / own.length]))
}
