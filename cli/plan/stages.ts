/**
 * What each range of layers holds and runs: bytes for the memory table, weights and dispatches for the step's cost.
 *
 * Counts a layout layer by layer, once. Knows no device but its binding limit.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ExpertSlots } from '../../gpu-worker/model/expert-slots.ts'
import type { LayerRange, ModelLayout } from '../../gpu-worker/model/layout.ts'
import { rehearse } from './rehearsal.ts'
import type { StageWeights } from './step-cost.ts'
import { weightMix, type WeightShare } from './weight-mix.ts'

/** One layer's weights on the GPU. */
export interface LayerWeights {
  readonly bytes: number
  /** In host memory: its routed experts where they take turns, else 0. */
  readonly waitingBytes: number
  readonly restBytes: number
  readonly restParameters: number
  /** Of one routed expert; 0 in a dense layer. */
  readonly expertBytes: number
  readonly expertParameters: number
  readonly dispatches: number
}

export interface ModelWeightsSize {
  readonly layers: readonly LayerWeights[]
  readonly embeddingBytes: number
  readonly embeddingRowBytes: number
  readonly embeddingDispatches: number
  /** With the final norm. */
  readonly headBytes: number
  readonly headParameters: number
  readonly headDispatches: number
  /** The head is the embedding: on one device it takes no memory of its own. */
  readonly isTied: boolean
}

/** `layout`: of a whole model. Throws GpuError 'limit' for weights that no binding holds. */
export function modelWeightsSize(
  config: ModelConfig,
  layout: ModelLayout,
  bindingBytesMax: number,
  expertSlots: ExpertSlots = null,
): ModelWeightsSize {
  const { embedding, output } = layout
  if (embedding === null || output === null) throw new RangeError('A plan needs the layout of a whole model')
  const { layerCount } = config
  const none = { ...layout, layers: [], embedding: null, output: null }
  const first = { ...none, embedding, range: { start: 0, end: 0 } }
  const last = { ...none, output, range: { start: layerCount, end: layerCount } }
  const head = total(weightMix(last))
  const table = total(weightMix(first))
  return {
    layers: layout.layers.map((layer) =>
      layerWeights(config, { ...none, layers: [layer] }, bindingBytesMax, expertSlots),
    ),
    embeddingBytes: table.bytes,
    embeddingRowBytes: table.bytes / embedding.rowCount,
    embeddingDispatches: rehearse(config, first, bindingBytesMax).dispatches - HAND_ON_DISPATCHES,
    headBytes: head.bytes,
    headParameters: head.parameters,
    headDispatches: rehearse(config, last, bindingBytesMax).dispatches,
    isTied: output.head === embedding,
  }
}

/** Bytes of weights on a device that owns these layers. */
export function stageWeightBytes(size: ModelWeightsSize, { start, end }: LayerRange): number {
  const layers = size.layers.slice(start, end).reduce((sum, { bytes }) => sum + bytes, 0)
  const isFirst = start === 0
  const isLast = end === size.layers.length
  return layers + (isFirst ? size.embeddingBytes : 0) + (isLast && !(isFirst && size.isTied) ? size.headBytes : 0)
}

export function stageWeights(size: ModelWeightsSize, { start, end }: LayerRange): StageWeights {
  const layers = size.layers.slice(start, end)
  const sum = (of: (layer: LayerWeights) => number): number => layers.reduce((all, layer) => all + of(layer), 0)
  const isFirst = start === 0
  const isLast = end === size.layers.length
  return {
    layerCount: layers.length,
    expertBytes: sum((layer) => layer.expertBytes),
    expertParameters: sum((layer) => layer.expertParameters),
    restBytes: sum((layer) => layer.restBytes),
    restParameters: sum((layer) => layer.restParameters),
    headBytes: isLast ? size.headBytes : 0,
    headParameters: isLast ? size.headParameters : 0,
    embeddingRowBytes: isFirst ? size.embeddingRowBytes : 0,
    dispatches:
      sum((layer) => layer.dispatches) +
      (isFirst ? size.embeddingDispatches : 0) +
      (isLast ? size.headDispatches : HAND_ON_DISPATCHES),
  }
}

function total(shares: readonly WeightShare[]): { readonly bytes: number; readonly parameters: number } {
  return {
    bytes: shares.reduce((sum, { bytes }) => sum + bytes, 0),
    parameters: shares.reduce((sum, { parameters }) => sum + parameters, 0),
  }
}

/** A range that is not the last adds its last delta to the residual stream that it hands on. */
const HAND_ON_DISPATCHES = 1

/** `layout`: of this layer alone. */
function layerWeights(
  config: ModelConfig,
  layout: ModelLayout,
  bindingBytesMax: number,
  expertSlots: ExpertSlots,
): LayerWeights {
  const [layer] = layout.layers
  if (layer === undefined) throw new RangeError('A layout of no layer')
  const mix = weightMix(layout)
  const experts = total(mix.filter(({ kind }) => kind === 'routedExperts'))
  const rest = total(mix.filter(({ kind }) => kind !== 'routedExperts'))
  const expertCount = layer.kind === 'experts' ? layer.mlp.experts.length : 1
  const range = { start: layer.index, end: layer.index + 1 }
  const isLast = range.end === config.layerCount
  const { dispatches } = rehearse(config, { ...layout, range }, bindingBytesMax, expertSlots)
  const slots = Math.min(expertCount, expertSlots ?? expertCount)
  return {
    bytes: (slots * experts.bytes) / expertCount + rest.bytes,
    waitingBytes: slots < expertCount ? experts.bytes : 0,
    restBytes: rest.bytes,
    restParameters: rest.parameters,
    expertBytes: experts.bytes / expertCount,
    expertParameters: experts.parameters / expertCount,
    dispatches: dispatches - (isLast ? 0 : HAND_ON_DISPATCHES),
  }
}
