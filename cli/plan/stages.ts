/**
 * What each range of layers holds and runs: bytes for the memory table, weights and dispatches for the step's cost.
 *
 * Counts a layout layer by layer, once. Knows no device but its binding limit.
 */
import { rowBytes, sameFormat, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import type {
  ExpertMlpLayout,
  LayerLayout,
  LayerRange,
  MatrixLayout,
  ModelLayout,
} from '../../gpu-worker/model/layout.ts'
import type { StageWeights } from './step-cost.ts'
import { weightMix, type WeightShare } from './weight-mix.ts'

/** One layer's weights on the GPU. */
export interface LayerWeights {
  readonly bytes: number
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

export function modelWeightsSize(layout: ModelLayout, bindingBytesMax: number): ModelWeightsSize {
  const { embedding, output } = layout
  if (embedding === null || output === null) throw new RangeError('A plan needs the layout of a whole model')
  const end = { ...layout, layers: [], embedding: null }
  const head = total(weightMix(end))
  const table = total(weightMix({ ...end, embedding, output: null }))
  return {
    layers: layout.layers.map((layer) => layerWeights(layout, layer, bindingBytesMax)),
    embeddingBytes: table.bytes,
    embeddingRowBytes: table.bytes / embedding.rowCount,
    embeddingDispatches: windows(embedding, bindingBytesMax),
    headBytes: head.bytes,
    headParameters: head.parameters,
    // Norm of the picked rows, product, sampler.
    headDispatches: 1 + windows(output.head, bindingBytesMax) + 1,
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
      // A stage that is not the last one adds its last delta to what it hands on.
      sum((layer) => layer.dispatches) + (isFirst ? size.embeddingDispatches : 0) + (isLast ? size.headDispatches : 1),
  }
}

function total(shares: readonly WeightShare[]): { readonly bytes: number; readonly parameters: number } {
  return {
    bytes: shares.reduce((sum, { bytes }) => sum + bytes, 0),
    parameters: shares.reduce((sum, { parameters }) => sum + parameters, 0),
  }
}

function layerWeights(layout: ModelLayout, layer: LayerLayout, bindingBytesMax: number): LayerWeights {
  const mix = weightMix({ ...layout, embedding: null, output: null, layers: [layer] })
  const experts = total(mix.filter(({ kind }) => kind === 'routedExperts'))
  const rest = total(mix.filter(({ kind }) => kind !== 'routedExperts'))
  const expertCount = layer.kind === 'experts' ? layer.mlp.experts.length : 1
  return {
    bytes: experts.bytes + rest.bytes,
    restBytes: rest.bytes,
    restParameters: rest.parameters,
    expertBytes: experts.bytes / expertCount,
    expertParameters: experts.parameters / expertCount,
    dispatches: layerDispatches(layer, bindingBytesMax),
  }
}

/** Dispatches of one layer, as `layers/` list them: one a window of a matrix, one a bank of experts, one each other. */
function layerDispatches(layer: LayerLayout, bindingBytesMax: number): number {
  const count = (layout: MatrixLayout): number => windows(layout, bindingBytesMax)
  const { project, lowRankQuery, kvB, out } = layer.attention
  const query = lowRankQuery === null ? 0 : 1 + count(lowRankQuery.up)
  // Norm, projections, cache write, absorption, scores and mix, values, output, norm.
  const attention = 1 + count(project) + query + 1 + count(kvB) + 1 + count(kvB) + count(out) + 1
  if (layer.kind === 'dense') return attention + count(layer.mlp.gateUp) + 1 + count(layer.mlp.down)
  return attention + expertDispatches(layer.mlp, bindingBytesMax)
}

function expertDispatches({ router, shared, experts }: ExpertMlpLayout, bindingBytesMax: number): number {
  const [first] = experts
  const stacked = { ...router, parts: [...router.parts, ...(shared?.gateUp.parts ?? [])] }
  const sharedCount = shared === null ? 0 : 1 + windows(shared.down, bindingBytesMax)
  // Router (with the shared expert's first product), choice, [SwiGLU, down], both expert products a bank, combination.
  const other = windows(stacked, bindingBytesMax) + 1 + sharedCount + 1
  if (first === undefined) return other
  const slotBytes = Math.max(
    ...[first.gate, first.up, first.down].map(
      (part) => part.rowCount * rowBytes(part.weight.columnCount, part.weight.format),
    ),
  )
  const banks = Math.ceil(experts.length / Math.max(1, Math.floor(bindingBytesMax / slotBytes)))
  return other + 2 * banks
}

/** Row windows: a new one at the limit and where the stored format changes. */
function windows({ parts }: Pick<MatrixLayout, 'parts'>, bindingBytesMax: number): number {
  let count = 0
  let open: { readonly format: WeightFormat; bytes: number } | null = null
  for (const { weight, rowCount } of parts) {
    const row = rowBytes(weight.columnCount, weight.format)
    if (open === null || !sameFormat(open.format, weight.format)) {
      open = { format: weight.format, bytes: 0 }
      count += 1
    }
    const before = Math.max(1, Math.ceil(open.bytes / bindingBytesMax))
    open.bytes += row * rowCount
    count += Math.max(1, Math.ceil(open.bytes / bindingBytesMax)) - before
  }
  return count
}
