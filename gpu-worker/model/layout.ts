/**
 * Which tensors make which weight of the model: every matrix, norm and vector, by layer, in either layout on disk.
 *
 * Pure: it sees names, types and shapes, no bytes, no file and no GPU. Everything missing or misshapen is found here,
 * before anything is allocated.
 */
import type { PlainFormat } from '../kernels/matrix.ts'
import { CheckpointError } from './checkpoint-error.ts'
import type { ModelConfig } from './config.ts'
import { routingWarnings, denseNormsOf, readEnds, readLayer, sortOut } from './layout-reader.ts'
import { parameterCounts } from './layout-sizes.ts'
import type { Quantization } from './quantization.ts'
import type { StoredWeight } from './row-source.ts'
import type { TensorInfo } from './safetensors.ts'
import { StoredTensors } from './stored-tensors.ts'

/** Layers [start, end). The embedding belongs to layer 0, final norm and head to the last one. */
export interface LayerRange {
  readonly start: number
  readonly end: number
}

/** Rows [rowStart, rowStart + rowCount) of a stored weight. */
export interface MatrixPart {
  readonly weight: StoredWeight
  readonly rowStart: number
  readonly rowCount: number
}

/** A matrix of stacked parts, all `columnCount` wide; groups of `rowsTogether` rows are never parted. */
export interface MatrixLayout {
  readonly rowCount: number
  readonly columnCount: number
  readonly rowsTogether: number
  readonly parts: readonly MatrixPart[]
}

/** A plain tensor [width]: a norm's weights, a bias. */
export interface VectorLayout {
  readonly tensor: string
  readonly width: number
  readonly format: PlainFormat
}

export interface AttentionLayout {
  /** q_a_proj (q_proj without a query rank), then kv_a_proj_with_mqa. */
  readonly project: MatrixLayout
  readonly lowRankQuery: { readonly norm: VectorLayout; readonly up: MatrixLayout } | null
  readonly latentNorm: VectorLayout
  /** kv_b_proj; one head's rows stay together. */
  readonly kvB: MatrixLayout
  readonly out: MatrixLayout
}

/** A dense layer's MLP, or the shared experts side by side. */
export interface DenseMlpLayout {
  /** gate_proj, then up_proj. */
  readonly gateUp: MatrixLayout
  readonly down: MatrixLayout
}

/** One routed expert; gate and up are of one format. */
export interface ExpertLayout {
  readonly gate: MatrixPart
  readonly up: MatrixPart
  readonly down: MatrixPart
}

export interface ExpertMlpLayout {
  readonly router: MatrixLayout
  /** e_score_correction_bias; null stands for zeros. */
  readonly bias: VectorLayout | null
  /** Null when the model has no shared expert. */
  readonly shared: DenseMlpLayout | null
  /** By expert id. */
  readonly experts: readonly ExpertLayout[]
  /** post_mlp_layernorm; null in models without one. */
  readonly norm: VectorLayout | null
}

export type LayerLayout = {
  readonly index: number
  readonly attentionNorm: VectorLayout
  readonly attention: AttentionLayout
  readonly mlpNorm: VectorLayout
} & (
  | { readonly kind: 'dense'; readonly mlp: DenseMlpLayout }
  | { readonly kind: 'experts'; readonly mlp: ExpertMlpLayout }
)

export interface ModelLayout {
  readonly range: LayerRange
  /** Null when the range starts later. */
  readonly embedding: MatrixLayout | null
  readonly layers: readonly LayerLayout[]
  /** Null when the range ends earlier. `head` is `embedding` itself when they are tied and both here. */
  readonly output: { readonly norm: VectorLayout; readonly head: MatrixLayout } | null
  /** Of this range. Active: what one token's forward pass uses, embedding table and head included. */
  readonly parameters: { readonly total: number; readonly active: number }
  readonly ignored: readonly { readonly tensor: string; readonly reason: string }[]
  readonly warnings: readonly string[]
}

/** A checkpoint whose tensors do not make the model: `problems` has every one, the message the first few. */
export class LayoutError extends CheckpointError {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    const named = problems.slice(0, NAMED_PROBLEMS).join('; ')
    const more = problems.length - NAMED_PROBLEMS
    super('the weights', more > 0 ? `${named}; and ${more} more problems (axle inspect lists them)` : named)
    this.problems = problems
  }
}

const NAMED_PROBLEMS = 4

/** Throws LayoutError for tensors that do not make the model, RangeError for a range that is none. */
export function layoutModel(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  quantization: Quantization | null,
  range: LayerRange = { start: 0, end: config.layerCount },
): ModelLayout {
  const { start, end } = range
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start || end > config.layerCount) {
    throw new RangeError(`Layers ${start} … ${end}: expected a range within 0 … ${config.layerCount}`)
  }
  const { layout, problems } = examineModel(config, tensors, quantization, range)
  if (problems.length > 0) throw new LayoutError(problems)
  return layout
}

/** A range's layout, and what is wrong with any layer; with problems, it is for looking at, not for loading. */
export function examineModel(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  quantization: Quantization | null,
  range: LayerRange = { start: 0, end: config.layerCount },
): { readonly layout: ModelLayout; readonly problems: readonly string[] } {
  const stored = new StoredTensors(tensors, quantization)
  const ends = readEnds(config, stored)
  const layers = Array.from({ length: config.layerCount }, (_, index) => readLayer(config, stored, index))
  const ignored = sortOut(config, stored)
  const weights = {
    range,
    embedding: range.start === 0 ? ends.embedding : null,
    layers: layers.slice(range.start, range.end),
    output: range.end === config.layerCount ? ends.output : null,
    ignored,
    warnings: [...(quantization?.warnings ?? []), ...ends.warnings, ...routingWarnings(config, layers)],
  }
  const denseNorms = new Set(denseNormsOf(config, range))
  const unusedCount = ignored.filter(({ tensor }) => denseNorms.has(tensor)).length * config.hiddenSize
  const parameters = parameterCounts(weights, config.expertsPerToken, unusedCount)
  return { layout: { ...weights, parameters }, problems: stored.problems }
}
