/**
 * The activations of a step: allocated once for the largest step, shared by all layers.
 *
 * Their contents mean nothing between steps, and rows past the step's last hold leftovers that nobody reads.
 */
import type { Buffers, Slice } from '../gpu/buffers.ts'
import type { AttentionShape } from '../kernels/attention-shape.ts'
import { entryBytes, entryLayout } from '../kernels/latent-pages.ts'
import { paddedColumns, type Activation } from '../kernels/matrix.ts'
import { ROW_RECORD_BYTES, SAMPLER_RECORD_BYTES, type StepInput } from '../kernels/step-input.ts'
import type { AttentionScratch } from '../layers/attention.ts'
import type { DenseMlpScratch } from '../layers/dense-mlp.ts'
import type { ExpertMlpScratch } from '../layers/expert-mlp.ts'
import type { ModelConfig } from './config.ts'

export interface Scratch {
  readonly step: StepInput
  /** The residual stream. */
  readonly x: Activation
  readonly normed: Activation
  /** What the layer under way adds to x. */
  readonly delta: Activation
  readonly attention: AttentionScratch
  /** Null in a model without such layers. */
  readonly dense: DenseMlpScratch | null
  readonly experts: ExpertMlpScratch | null
  /** u32 [rows, top] of each expert layer: kept until the step ends, for whoever asks. */
  readonly chosen: readonly Slice[]
  /** f32 [rows, top] */
  readonly routeWeights: Slice
  readonly picked: Activation
  readonly logits: Activation
  readonly sampled: Slice
}

export interface ScratchSize {
  readonly rowsMax: number
  /** Rows whose logits are computed at a time. */
  readonly pickedMax: number
  /** Block-table entries of all sequences of a step. */
  readonly tableEntriesMax: number
}

export function allocateScratch(config: ModelConfig, buffers: Buffers, size: ScratchSize): Scratch {
  const { rowsMax, pickedMax, tableEntriesMax } = size
  const activation = (name: string, width: number, rows = rowsMax): Activation => {
    const stride = paddedColumns(width)
    return { slice: buffers.storage(name, rows * stride * 4), width, stride }
  }
  const { hiddenSize, expertsPerToken } = config
  const sharedWidth = config.moeIntermediateSize * config.sharedExpertCount
  const hasDense = config.denseLayerCount > 0
  const expertLayerCount = config.layerCount - config.denseLayerCount
  const pairs = rowsMax * expertsPerToken
  return {
    step: {
      rows: buffers.storage('rows', rowsMax * ROW_RECORD_BYTES),
      rope: buffers.storage('rope', rowsMax * config.qkRopeHeadDim * 4),
      tables: buffers.storage('tables', tableEntriesMax * 4),
      picked: buffers.storage('picked', pickedMax * 4),
      samplers: buffers.storage('samplers', pickedMax * SAMPLER_RECORD_BYTES),
    },
    x: activation('x', hiddenSize),
    normed: activation('normed', hiddenSize),
    delta: activation('delta', hiddenSize),
    attention: attentionScratch(config, buffers, activation, rowsMax),
    dense: hasDense
      ? {
          gateUp: activation('dense-gate-up', 2 * config.intermediateSize),
          hidden: activation('dense-hidden', config.intermediateSize),
        }
      : null,
    experts:
      expertLayerCount > 0
        ? {
            routerAndShared: activation('router-and-shared', config.routedExpertCount + 2 * sharedWidth),
            sharedHidden: activation('shared-hidden', sharedWidth),
            sharedOut: activation('shared-out', hiddenSize),
            pairHidden: activation('pair-hidden', config.moeIntermediateSize, pairs),
            pairOut: activation('pair-out', hiddenSize, pairs),
          }
        : null,
    chosen: Array.from({ length: expertLayerCount }, (_, i) => buffers.storage(`chosen-${i}`, pairs * 4)),
    routeWeights: buffers.storage('route-weights', pairs * 4),
    picked: activation('picked-rows', hiddenSize, pickedMax),
    logits: activation('logits', config.vocabSize, pickedMax),
    sampled: buffers.storage('sampled', pickedMax * 4),
  }
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

function attentionScratch(
  config: ModelConfig,
  buffers: Buffers,
  activation: (name: string, width: number) => Activation,
  rowsMax: number,
): AttentionScratch {
  const shape = attentionShape(config)
  const queryWidth = shape.headCount * (shape.nope + shape.rope)
  const { qLoraRank } = config
  return {
    projected: activation('projected', (qLoraRank ?? queryWidth) + shape.latent + shape.rope),
    lowRankQuery:
      qLoraRank === null ? null : { normed: activation('query-normed', qLoraRank), q: activation('q', queryWidth) },
    queries: buffers.storage('queries', rowsMax * shape.headCount * entryBytes(shape)),
    mixed: buffers.storage('mixed', rowsMax * shape.headCount * entryLayout(shape).ropeStart * 4),
    values: activation('values', shape.headCount * shape.value),
  }
}
