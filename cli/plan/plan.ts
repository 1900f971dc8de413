/**
 * A plan: what a model takes of some devices and how fast they can be, as data. Every figure that is printed is here.
 *
 * Pure; reads no file, measures nothing. Sizes are bytes, times are seconds.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { LayerRange, ModelLayout } from '../../gpu-worker/model/layout.ts'
import { roofRates, type Device, type Rates } from './devices.ts'
import { fullest, judge, stageMemories, whatFits, type Demand, type MemoryModel, type StageMemory } from './fit.ts'
import type { Verdict, WouldFit } from './fit.ts'
import { roundOf, roundSeconds, streamSeconds } from './pipeline.ts'
import { modelWeightsSize, stageWeights, type ModelWeightsSize } from './stages.ts'
import {
  decodeRows,
  distinctExperts,
  prefillRows,
  ridgeTokens,
  stepTime,
  stepWork,
  totalBytes,
  type Reading,
  type StepRows,
  type StepTime,
  type StageWeights,
} from './step-cost.ts'
import { weightMix, type WeightShare } from './weight-mix.ts'

export interface PlanRequest {
  readonly config: ModelConfig
  readonly layout: ModelLayout
  readonly devices: readonly Device[]
  /** Devices of one kind that hold the model together. */
  readonly count: number
  readonly demand: Demand
  readonly memory: CacheMemory
}

/** What serving allocates besides weights. */
export type CacheMemory = Pick<MemoryModel, 'blockTokens' | 'blockBytes' | 'activationBytes'>

export interface Plan {
  readonly parameters: { readonly total: number; readonly active: number }
  readonly weights: { readonly shares: readonly WeightShare[]; readonly bytes: number }
  readonly cache: { readonly bytesPerToken: number; readonly bytesPerSequence: number; readonly bytes: number }
  readonly activationBytes: number
  readonly devices: readonly DevicePlan[]
}

export interface DevicePlan {
  readonly device: Device
  readonly stages: readonly StageMemory[]
  readonly fullest: StageMemory
  readonly verdict: Verdict
  readonly wouldFit: WouldFit
  /** At a short context, then at the asked one. */
  readonly decode: readonly DecodePlan[]
  readonly prefill: readonly PrefillPlan[]
  /** Tokens of a chunk from which arithmetic, not reading the experts, is the limit. */
  readonly ridge: { readonly f32: number; readonly matrix: number | null }
}

export interface DecodePlan {
  readonly contextTokens: number
  readonly sequences: number
  /** The batch passes the stages as so many micro-batches of so many sequences. */
  readonly microBatches: number
  readonly sequencesEach: number
  /** Of one layer, by one micro-batch. */
  readonly distinctExperts: number
  /** Read by one micro-batch on its way through all layers, each needed weight once. */
  readonly bytes: number
  readonly fits: boolean
  readonly roof: Pace
  readonly asBuilt: Pace
}

export interface Pace {
  /** From one token of a sequence to its next. */
  readonly seconds: number
  /** Of all sequences. */
  readonly tokensPerSecond: number
  readonly bound: StepTime['bound']
}

export interface PrefillPlan {
  readonly promptTokens: number
  readonly chunkTokens: number
  /** Until the prompt's last token has passed every stage. */
  readonly roofSeconds: number
  readonly asBuiltSeconds: number
  /** The roof with matrix units in place of f32 arithmetic. */
  readonly matrixSeconds: number | null
}

/** A chat's length, beside the longest that is asked for. */
const SHORT_CONTEXT_TOKENS = 4096
const PROMPT_TOKENS = 8192
/** The Runner's own rows a step, and a chunk that touches every expert often enough to be limited by arithmetic. */
const CHUNKS_TOKENS = [256, 2048]

export function makePlan(request: PlanRequest): Plan {
  const { layout, demand, memory, config } = request
  const shares = weightMix(layout)
  const bytesPerToken = (memory.blockBytes / memory.blockTokens) * config.layerCount
  const perSequence = Math.ceil(demand.contextTokens / memory.blockTokens) * memory.blockTokens * bytesPerToken
  return {
    parameters: layout.parameters,
    weights: { shares, bytes: shares.reduce((sum, { bytes }) => sum + bytes, 0) },
    cache: { bytesPerToken, bytesPerSequence: perSequence, bytes: perSequence * demand.sequences },
    activationBytes: memory.activationBytes(demand),
    devices: request.devices.map((device) => planDevice(request, device)),
  }
}

function planDevice(request: PlanRequest, device: Device): DevicePlan {
  const { config, layout, count, demand } = request
  const size = modelWeightsSize(config, layout, device.bindingBytesMax)
  const memory: MemoryModel = { ...request.memory, size, contextTokensMax: config.contextTokensMax }
  const stages = stageMemories(memory, demand, count)
  const pipeline: Pipeline = {
    config,
    device,
    entryBytes: memory.blockBytes / memory.blockTokens,
    stages: stages.map(({ layers }) => stageWeights(size, layers)),
  }
  const contexts = [...new Set([Math.min(SHORT_CONTEXT_TOKENS, demand.contextTokens), demand.contextTokens])]
  return {
    device,
    stages,
    fullest: fullest(stages),
    verdict: judge(memory, demand, count, device),
    wouldFit: whatFits(memory, demand, count, device),
    decode: contexts.flatMap((contextTokens) =>
      batchSizes(demand.sequences).map((sequences) => {
        const asked = { sequences, contextTokens }
        return decodePlan(pipeline, asked, judge(memory, asked, count, device).fits)
      }),
    ),
    prefill: prefillPlans(pipeline, demand.contextTokens),
    ridge: ridges(config, size, device),
  }
}

/** 1, 2, 4, … and the asked number. */
export function batchSizes(sequences: number): number[] {
  const sizes: number[] = []
  for (let size = 1; size < sequences; size *= 2) sizes.push(size)
  return [...sizes, sequences]
}

interface Pipeline {
  readonly config: ModelConfig
  readonly device: Device
  /** Of one token's cache entry in one layer. */
  readonly entryBytes: number
  readonly stages: readonly StageWeights[]
}

function decodePlan(pipeline: Pipeline, { sequences, contextTokens }: Demand, fits: boolean): DecodePlan {
  const { config, device, entryBytes, stages } = pipeline
  const round = roundOf(sequences, stages.length)
  const rows = decodeRows(round.sequencesEach, contextTokens)
  const work = stages.map((stage) => stepWork(config, stage, entryBytes, rows, 'once'))
  const pace = (reading: Reading, rates: Rates): Pace => {
    const times = stageTimes(pipeline, rows, reading, rates)
    const seconds = roundSeconds(
      times.map((time) => time.seconds),
      round,
    )
    return { seconds, tokensPerSecond: sequences / seconds, bound: mostCommonBound(times) }
  }
  return {
    contextTokens,
    sequences,
    ...round,
    distinctExperts:
      config.denseLayerCount === config.layerCount
        ? 0
        : distinctExperts(config.routedExpertCount, config.expertsPerToken, round.sequencesEach),
    bytes: work.reduce((sum, stage) => sum + totalBytes(stage), 0),
    fits,
    roof: pace('once', device.roof),
    asBuilt: pace('as-built', device.asBuilt),
  }
}

function stageTimes(pipeline: Pipeline, rows: StepRows, reading: Reading, rates: Rates): StepTime[] {
  const { config, entryBytes, stages } = pipeline
  return stages.map((stage, index) => {
    const { seconds, bound } = stepTime(stepWork(config, stage, entryBytes, rows, reading), rates)
    const isLast = index === stages.length - 1
    return { seconds: seconds + (isLast ? 0 : hopSeconds(config, rows.rows)), bound }
  })
}

/**
 * The residual stream, f32, from one device to the next over the host: a copy with its map (0.033 ms measured on an H100)
 * and the bytes at the upload ring's 8.1 GB/s. A network between them is not counted.
 */
function hopSeconds({ hiddenSize }: ModelConfig, rows: number): number {
  return 0.033e-3 + (rows * hiddenSize * 4) / 8.1e9
}

/** What limits most of the time. */
function mostCommonBound(times: readonly StepTime[]): StepTime['bound'] {
  const seconds = { reading: 0, arithmetic: 0, dispatches: 0 }
  for (const time of times) seconds[time.bound] += time.seconds
  if (seconds.reading >= Math.max(seconds.arithmetic, seconds.dispatches)) return 'reading'
  return seconds.arithmetic >= seconds.dispatches ? 'arithmetic' : 'dispatches'
}

function prefillPlans(pipeline: Pipeline, contextTokens: number): PrefillPlan[] {
  const promptTokens = Math.min(PROMPT_TOKENS, contextTokens)
  const { device } = pipeline
  const matrix = device.matrixFlopsPerSecond
  return [...new Set(CHUNKS_TOKENS.map((tokens) => Math.min(tokens, promptTokens)))].map((chunkTokens) => {
    const seconds = (reading: Reading, rates: Rates): number => {
      const chunks: number[][] = []
      for (let start = 0; start < promptTokens; start += chunkTokens) {
        const rows = prefillRows(
          start,
          Math.min(chunkTokens, promptTokens - start),
          start + chunkTokens >= promptTokens,
        )
        chunks.push(stageTimes(pipeline, rows, reading, rates).map((time) => time.seconds))
      }
      return streamSeconds(chunks)
    }
    return {
      promptTokens,
      chunkTokens,
      roofSeconds: seconds('once', device.roof),
      asBuiltSeconds: seconds('as-built', device.asBuilt),
      matrixSeconds: matrix === null ? null : seconds('once', withArithmetic(device.roof, matrix)),
    }
  })
}

function ridges(config: ModelConfig, size: ModelWeightsSize, device: Device): DevicePlan['ridge'] {
  const experts = stageWeights(size, { start: 0, end: size.layers.length } satisfies LayerRange)
  const bytesPerParameter = experts.expertParameters === 0 ? 0 : experts.expertBytes / experts.expertParameters
  const { matrixFlopsPerSecond } = device
  const { bytesPerSecond, flopsPerSecond: f32 } = device.roof.experts
  const at = (flopsPerSecond: number): number =>
    ridgeTokens(config, bytesPerParameter, { bytesPerSecond, flopsPerSecond })
  return { f32: at(f32), matrix: matrixFlopsPerSecond === null ? null : at(matrixFlopsPerSecond) }
}

function withArithmetic({ experts, dispatchSeconds }: Rates, flopsPerSecond: number): Rates {
  return roofRates(experts.bytesPerSecond, flopsPerSecond, dispatchSeconds)
}
