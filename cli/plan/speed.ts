/**
 * What a model cut over devices does in a second: decode steps and prefill of one prompt, at the roof and as built.
 *
 * Pure; knows no memory. Times are seconds.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { roofRates, type Device, type Rates } from './devices.ts'
import type { Demand } from './fit.ts'
import { roundOf, roundSeconds, streamSeconds } from './pipeline.ts'
import { stageWeights, type ModelWeightsSize } from './stages.ts'
import {
  decodeRows,
  distinctExperts,
  prefillRows,
  ridgeTokens,
  stepTime,
  stepWork,
  totalBytes,
  type Reading,
  type StageWeights,
  type StepRows,
  type StepTime,
} from './step-cost.ts'

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
  /** Whether the prompt alone does. */
  readonly fits: boolean
  /** Until the prompt's last token has passed every stage. */
  readonly roofSeconds: number
  readonly asBuiltSeconds: number
  /** The roof with matrix units in place of f32 arithmetic. */
  readonly matrixSeconds: number | null
}

/** Tokens of a chunk from which arithmetic, not reading the experts, is the limit. */
export interface Ridge {
  readonly f32: number
  readonly matrix: number | null
}

const PROMPT_TOKENS = 8192
/** The Runner's own rows a step, and a chunk that touches every expert often enough to be limited by arithmetic. */
const CHUNKS_TOKENS = [256, 2048]

/** The devices that hold a model together, by what each runs. */
export interface Pipeline {
  readonly config: ModelConfig
  readonly device: Device
  /** Of one token's cache entry in one layer. */
  readonly entryBytes: number
  readonly stages: readonly StageWeights[]
}

export function decodePlan(pipeline: Pipeline, { sequences, contextTokens }: Demand, fits: boolean): DecodePlan {
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
    asBuilt: pace(device.kernels, device.asBuilt),
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

export function prefillPlans(
  pipeline: Pipeline,
  contextTokens: number,
  fitsAlone: (promptTokens: number) => boolean,
): PrefillPlan[] {
  const promptTokens = Math.min(PROMPT_TOKENS, contextTokens)
  const fits = fitsAlone(promptTokens)
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
      fits,
      roofSeconds: seconds('once', device.roof),
      asBuiltSeconds: seconds(device.kernels, device.asBuilt),
      matrixSeconds: matrix === null ? null : seconds('once', withArithmetic(device.roof, matrix)),
    }
  })
}

export function ridges(config: ModelConfig, size: ModelWeightsSize, device: Device): Ridge {
  const experts = stageWeights(size, { start: 0, end: size.layers.length })
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
