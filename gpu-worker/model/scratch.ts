/**
 * The activations of a step: laid out once for the largest step, shared by all layers of the range.
 *
 * Their contents mean nothing between steps, and rows past the step's last hold leftovers that nobody reads.
 */
import { biasedTokensMax } from '../../contract/limits.ts'
import type { Slice, Storage } from '../gpu/buffers.ts'
import { layOutAttentionWork, slotCountFor, type AttentionWork } from '../kernels/attention-plan.ts'
import type { AttentionShape } from '../kernels/attention-shape.ts'
import { stepGroupsBytes } from '../kernels/expert-groups.ts'
import { entryBytes } from '../kernels/latent-pages.ts'
import { fitsTile } from '../kernels/latent-attention-tile.ts'
import { partBytes } from '../kernels/latent-merge.ts'
import { scoreBytes, slotBytes } from '../kernels/score-operands.ts'
import { sampledBytes } from '../kernels/log-probs.ts'
import { paddedColumns, type Activation } from '../kernels/matrix.ts'
import { pairsPerRow, type RoutingRule } from '../kernels/route.ts'
import { CHANGE_BYTES, ROW_RECORD_BYTES, SAMPLER_RECORD_BYTES, type StepInput } from '../kernels/step-input.ts'
import { mixedBytes } from '../kernels/value-up-operands.ts'
import type { AttentionScratch } from '../layers/attention.ts'
import type { DenseMlpScratch } from '../layers/dense-mlp.ts'
import { groupSizes, type ExpertMlpScratch } from '../layers/expert-mlp.ts'
import type { ModelConfig } from './config.ts'
import type { LayerRange } from './layout.ts'
import { maskWords } from './sampler-records.ts'

export interface Scratch {
  readonly step: StepInput
  /** The residual stream. */
  readonly x: Activation
  readonly normed: Activation
  /** What the layer under way adds to x. */
  readonly delta: Activation
  readonly attention: AttentionScratch
  /** Null in a range without such layers. */
  readonly dense: DenseMlpScratch | null
  /** `routeWeights`: f32 [rows, pairs] */
  readonly experts: (ExpertMlpScratch & { readonly routeWeights: Slice }) | null
  /** u32 [rows, pairs] of each expert layer: kept until the step ends, for whoever asks. */
  readonly chosen: readonly Slice[]
  /** Of `chosen`: experts a token, and the shared one if any. */
  readonly pairsPerRow: number
  /** Null in a range that ends before the model does. */
  readonly output: OutputScratch | null
}

export interface OutputScratch {
  readonly picked: Activation
  readonly logits: Activation
  /** Room for the logits as sampled, where a sampler changes them. */
  readonly adjusted: Activation
  readonly sampled: Slice
}

export interface ScratchSize {
  readonly rowsMax: number
  /** Rows whose logits are computed at a time. */
  readonly pickedMax: number
  /** Block-table entries of all sequences of a step. */
  readonly tableEntriesMax: number
  /** Positions of one sequence. */
  readonly contextTokensMax: number
}

export function layOutScratch(config: ModelConfig, range: LayerRange, memory: Storage, size: ScratchSize): Scratch {
  const { rowsMax, pickedMax, tableEntriesMax } = size
  const activation = (name: string, width: number, rows = rowsMax): Activation => {
    const stride = paddedColumns(width)
    return { slice: memory.storage(name, rows * stride * 4), width, stride }
  }
  const { hiddenSize } = config
  const isLast = range.end === config.layerCount
  const attention = attentionWork(config, memory, size)
  return {
    step: {
      rows: memory.storage('rows', rowsMax * ROW_RECORD_BYTES),
      rope: memory.storage('rope', rowsMax * config.qkRopeHeadDim * 4),
      tables: memory.storage('tables', tableEntriesMax * 4),
      picked: memory.storage('picked', pickedMax * 4),
      samplers: memory.storage('samplers', pickedMax * SAMPLER_RECORD_BYTES),
      changes: memory.storage('logit-changes', isLast ? changesMax(config, memory, size) * CHANGE_BYTES : 0),
      masks: memory.storage('token-masks', isLast ? pickedMax * maskWords(config.vocabSize) * 4 : 0),
      attention,
    },
    x: activation('x', hiddenSize),
    normed: activation('normed', hiddenSize),
    delta: activation('delta', hiddenSize),
    attention: attentionScratch(config, memory, activation, attention),
    dense: range.start < config.denseLayerCount ? denseScratch(config, activation) : null,
    ...expertScratch(config, range, memory, activation, rowsMax),
    pairsPerRow: pairsPerRow(routingRule(config)),
    output: isLast
      ? {
          picked: activation('picked-rows', hiddenSize, pickedMax),
          logits: activation('logits', config.vocabSize, pickedMax),
          adjusted: activation('adjusted-logits', config.vocabSize, pickedMax),
          sampled: memory.storage('sampled', sampledBytes(pickedMax)),
        }
      : null,
  }
}

/** Steps of a whole model that may be in flight: each has its own way back for what it sampled. */
export const STEPS_IN_FLIGHT_MAX = 2

/** Everything that comes back comes through this much. */
export function readbackBytes(scratch: Scratch): number {
  return captureBytes(scratch) + (scratch.output === null ? 0 : STEPS_IN_FLIGHT_MAX * scratch.output.sampled.bytes)
}

/** The most that one readback brings behind a step that runs alone: logits, experts, or the residual stream. */
export function captureBytes({ output, x, chosen }: Scratch): number {
  return Math.max((output?.logits ?? x).slice.bytes, chosen[0]?.bytes ?? 0)
}

/** Rows that the output has room for: as many as are sampled, at most. */
export function pickedMaxOf({ logits }: OutputScratch): number {
  return Math.floor(logits.slice.bytes / (logits.stride * 4))
}

/** The first layer of the range that has experts; `range.end` when none has. */
export function firstExpertLayer({ denseLayerCount }: ModelConfig, { start, end }: LayerRange): number {
  return Math.min(end, Math.max(start, denseLayerCount))
}

export function attentionShape(config: ModelConfig): AttentionShape {
  return {
    headCount: config.headCount,
    nope: config.qkNopeHeadDim,
    rope: config.qkRopeHeadDim,
    latent: config.kvLoraRank,
    value: config.vHeadDim,
  }
}

export function routingRule(config: ModelConfig): RoutingRule {
  return {
    expertCount: config.routedExpertCount,
    groupCount: config.groupCount,
    groupsKept: config.groupsPerToken,
    top: config.expertsPerToken,
    isNormalised: config.normTopkProb,
    scaling: config.routedScalingFactor,
    hasShared: config.sharedExpertCount > 0,
  }
}

type LayOut = (name: string, width: number, rows?: number) => Activation

/** More than any model's files name. */
const END_TOKENS_MAX = 512
/** Tokens a row may name for a bias or as ends, beside those of its context. */
const NAMED_TOKENS_MAX = biasedTokensMax + END_TOKENS_MAX

/** Each sequence may change the logits of all tokens it can hold and name. */
function changesMax({ vocabSize }: ModelConfig, memory: Storage, { pickedMax, contextTokensMax }: ScratchSize): number {
  const wanted = pickedMax * Math.min(vocabSize, contextTokensMax + NAMED_TOKENS_MAX)
  return Math.min(wanted, Math.floor(memory.bindingBytesMax / CHANGE_BYTES))
}

/** Parts of splits may take this much, their scores as much again: a thousand for A.X K1. */
const PARTS_BYTES_MAX = 128 << 20

function attentionWork(
  config: ModelConfig,
  memory: Storage,
  { rowsMax, contextTokensMax }: ScratchSize,
): AttentionWork {
  const bytesMax = Math.min(PARTS_BYTES_MAX, memory.bindingBytesMax)
  const shape = attentionShape(config)
  const hasStages = fitsTile(shape)
  const slotCount = slotCountFor(contextTokensMax, rowsMax, slotBytes(shape, hasStages), bytesMax, hasStages)
  return layOutAttentionWork(memory, { slotCount, rowsMax, hasStages })
}

function attentionScratch(
  config: ModelConfig,
  memory: Storage,
  activation: LayOut,
  { rowsMax, slotCount, hasStages }: AttentionWork,
): AttentionScratch {
  const shape = attentionShape(config)
  const queryWidth = shape.headCount * (shape.nope + shape.rope)
  const { qLoraRank } = config
  return {
    projected: activation('projected', (qLoraRank ?? queryWidth) + shape.latent + shape.rope),
    lowRankQuery:
      qLoraRank === null ? null : { normed: activation('query-normed', qLoraRank), q: activation('q', queryWidth) },
    queries: memory.storage('queries', rowsMax * shape.headCount * entryBytes(shape)),
    scores: memory.storage('attention-scores', hasStages ? slotCount * scoreBytes(shape) : 0),
    parts: memory.storage('attention-parts', slotCount * partBytes(shape)),
    mixed: memory.storage('mixed', mixedBytes(shape, rowsMax)),
    values: activation('values', shape.headCount * shape.value),
  }
}

function denseScratch({ intermediateSize }: ModelConfig, activation: LayOut): DenseMlpScratch {
  return {
    gateUp: activation('dense-gate-up', 2 * intermediateSize),
    hidden: activation('dense-hidden', intermediateSize),
  }
}

function expertScratch(
  config: ModelConfig,
  range: LayerRange,
  memory: Storage,
  activation: LayOut,
  rowsMax: number,
): Pick<Scratch, 'experts' | 'chosen'> {
  const layerCount = range.end - firstExpertLayer(config, range)
  if (layerCount === 0) return { experts: null, chosen: [] }
  const { hiddenSize, moeIntermediateSize, routedExpertCount } = config
  const routing = routingRule(config)
  const sharedWidth = moeIntermediateSize * config.sharedExpertCount
  const pairs = rowsMax * pairsPerRow(routing)
  return {
    experts: {
      sharedAndRouter: activation('shared-and-router', 2 * sharedWidth + routedExpertCount),
      pairHidden: activation('pair-hidden', moeIntermediateSize, pairs),
      pairOut: activation('pair-out', hiddenSize, pairs),
      groups: memory.storage('expert-groups', stepGroupsBytes(groupSizes(routing, rowsMax))),
      routeWeights: memory.storage('route-weights', pairs * 4),
    },
    chosen: Array.from({ length: layerCount }, (_, i) => memory.storage(`chosen-${i}`, pairs * 4)),
  }
}
