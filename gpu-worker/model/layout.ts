/**
 * Which tensors make which weight of the model: every matrix, norm and vector, by layer, in either layout on disk.
 *
 * Pure: it sees names, types and shapes, no bytes, no file and no GPU. Everything missing or misshapen is found here,
 * before anything is allocated.
 */
import { formatName, sameFormat, type PlainFormat } from '../kernels/matrix.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'
import type { ModelConfig } from './config.ts'
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
    warnings: [...(quantization?.warnings ?? []), ...ends.warnings, ...biasWarnings(config, layers)],
  }
  const denseNorms = new Set(denseNormsOf(config, range))
  const unusedCount = ignored.filter(({ tensor }) => denseNorms.has(tensor)).length * config.hiddenSize
  const parameters = parameterCounts(weights, config.expertsPerToken, unusedCount)
  return { layout: { ...weights, parameters }, problems: stored.problems }
}

/** What stands before the first layer and after the last. */
function readEnds(
  { vocabSize, hiddenSize, tieWordEmbeddings }: ModelConfig,
  stored: StoredTensors,
): Pick<ModelLayout, 'embedding' | 'output' | 'warnings'> {
  const norm = stored.vector(['model.norm.weight'], hiddenSize)
  const isHeadStored = stored.hasModule('lm_head')
  // Tied and only the head stored: then that is the table, too.
  const table = tieWordEmbeddings && isHeadStored && !stored.hasModule('model.embed_tokens') ? 'lm_head' : EMBEDDING
  const embedding = whole(stored.plain(table, vocabSize, hiddenSize))
  if (tieWordEmbeddings && (!isHeadStored || table === 'lm_head')) {
    return { embedding, output: { norm, head: embedding }, warnings: [] }
  }
  const head = whole(stored.linear('lm_head', vocabSize, hiddenSize))
  const warnings = tieWordEmbeddings
    ? ['tie_word_embeddings is true, yet lm_head is stored: it is used, as transformers does where the two differ']
    : []
  return { embedding, output: { norm, head }, warnings }
}

const EMBEDDING = 'model.embed_tokens'

function readLayer(config: ModelConfig, stored: StoredTensors, index: number): LayerLayout {
  const prefix = `model.layers.${index}`
  const shared = {
    index,
    attentionNorm: stored.vector([`${prefix}.input_layernorm.weight`], config.hiddenSize),
    attention: readAttention(config, stored, `${prefix}.self_attn`),
    mlpNorm: stored.vector([`${prefix}.post_attention_layernorm.weight`], config.hiddenSize),
  }
  if (index >= config.denseLayerCount) {
    return { ...shared, kind: 'experts', mlp: readExpertMlp(config, stored, prefix) }
  }
  const mlp = readGatedMlp(stored, `${prefix}.mlp`, config.intermediateSize, config.hiddenSize)
  return { ...shared, kind: 'dense', mlp }
}

function readAttention(config: ModelConfig, stored: StoredTensors, prefix: string): AttentionLayout {
  const { hiddenSize, headCount, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const queryRows = headCount * (qkNopeHeadDim + qkRopeHeadDim)
  const queries =
    qLoraRank === null
      ? stored.linear(`${prefix}.q_proj`, queryRows, hiddenSize)
      : stored.linear(`${prefix}.q_a_proj`, qLoraRank, hiddenSize)
  const latent = stored.linear(`${prefix}.kv_a_proj_with_mqa`, kvLoraRank + qkRopeHeadDim, hiddenSize)
  const headRows = qkNopeHeadDim + vHeadDim
  return {
    project: stack([part(queries), part(latent)]),
    lowRankQuery:
      qLoraRank === null
        ? null
        : {
            norm: stored.vector([`${prefix}.q_a_layernorm.weight`], qLoraRank),
            up: whole(stored.linear(`${prefix}.q_b_proj`, queryRows, qLoraRank)),
          },
    latentNorm: stored.vector([`${prefix}.kv_a_layernorm.weight`], kvLoraRank),
    kvB: stack([part(stored.linear(`${prefix}.kv_b_proj`, headCount * headRows, kvLoraRank))], headRows),
    out: whole(stored.linear(`${prefix}.o_proj`, hiddenSize, headCount * vHeadDim)),
  }
}

/** gate_proj and up_proj, or both in gate_up_proj: gate's rows first, as the reference's `chunk` has them. */
function readGatedMlp(stored: StoredTensors, prefix: string, width: number, hiddenSize: number): DenseMlpLayout {
  const gateUp = stored.hasModule(`${prefix}.gate_up_proj`)
    ? whole(stored.linear(`${prefix}.gate_up_proj`, 2 * width, hiddenSize))
    : stack(['gate_proj', 'up_proj'].map((name) => part(stored.linear(`${prefix}.${name}`, width, hiddenSize))))
  return { gateUp, down: whole(stored.linear(`${prefix}.down_proj`, hiddenSize, width)) }
}

function readExpertMlp(config: ModelConfig, stored: StoredTensors, layer: string): ExpertMlpLayout {
  const { hiddenSize, routedExpertCount, sharedExpertCount, moeIntermediateSize, postMlpNorm } = config
  const prefix = `${layer}.mlp`
  const bias = `${prefix}.gate.e_score_correction_bias`
  return {
    router: whole(stored.plain(`${prefix}.gate`, routedExpertCount, hiddenSize)),
    bias: stored.has(bias) ? stored.vector([bias], routedExpertCount) : null,
    shared:
      sharedExpertCount === 0
        ? null
        : readGatedMlp(
            stored,
            sharedPrefix(config, stored, prefix),
            moeIntermediateSize * sharedExpertCount,
            hiddenSize,
          ),
    experts: readExperts(config, stored, `${prefix}.experts`),
    norm: postMlpNorm ? stored.vector(postMlpNorms(layer), hiddenSize) : null,
  }
}

/** A single shared expert may be stored as the first of a list. Several cannot: their down_proj lie side by side. */
function sharedPrefix({ sharedExpertCount }: ModelConfig, stored: StoredTensors, prefix: string): string {
  const listed = `${prefix}.shared_experts.0`
  const isListed = stored.hasModule(`${listed}.down_proj`)
  if (isListed && sharedExpertCount > 1) {
    stored.problems.push(`${listed}: not supported yet: ${sharedExpertCount} shared experts, stored one by one`)
  }
  return isListed ? listed : `${prefix}.shared_experts`
}

/** On the layer, as checkpoints have it; on its MLP, as the reference's own model names it. */
function postMlpNorms(layer: string): readonly string[] {
  return [`${layer}.post_mlp_layernorm.weight`, `${layer}.mlp.post_mlp_layernorm.weight`]
}

function readExperts(config: ModelConfig, stored: StoredTensors, prefix: string): ExpertLayout[] {
  const { hiddenSize, routedExpertCount, moeIntermediateSize: width } = config
  const [gateUp, down] = [`${prefix}.gate_up_proj`, `${prefix}.down_proj`]
  if (stored.has(gateUp) || stored.has(down)) {
    const both = stored.fused(prefix, gateUp, routedExpertCount, 2 * width, hiddenSize)
    const downs = stored.fused(prefix, down, routedExpertCount, hiddenSize, width)
    return Array.from({ length: routedExpertCount }, (_, expert) => ({
      gate: { weight: both, rowStart: 2 * expert * width, rowCount: width },
      up: { weight: both, rowStart: (2 * expert + 1) * width, rowCount: width },
      down: { weight: downs, rowStart: expert * hiddenSize, rowCount: hiddenSize },
    }))
  }
  if (!stored.hasModule(`${prefix}.0.gate_proj`)) {
    stored.problems.push(`${prefix}: neither fused (gate_up_proj, down_proj) nor one by one (0.gate_proj.weight, …)`)
    return []
  }
  return Array.from({ length: routedExpertCount }, (_, expert) => {
    const linear = (name: string, rows: number, columns: number): MatrixPart =>
      part(stored.linear(`${prefix}.${expert}.${name}`, rows, columns))
    const gate = linear('gate_proj', width, hiddenSize)
    const up = linear('up_proj', width, hiddenSize)
    if (!sameFormat(gate.weight.format, up.weight.format)) {
      const formats = `${formatName(gate.weight.format)} and ${formatName(up.weight.format)}`
      stored.problems.push(`${prefix}.${expert}: gate_proj and up_proj must be stored alike, got ${formats}`)
    }
    return { gate, up, down: linear('down_proj', hiddenSize, width) }
  })
}

/** Of what no weight claimed: what may be left aside, and why; the rest is a problem each. */
function sortOut(config: ModelConfig, stored: StoredTensors): ModelLayout['ignored'] {
  const rest = stored.unclaimed()
  const ahead = new Set(rest.map(({ name }) => AHEAD.exec(name)?.[1] ?? ''))
  const denseNorms = new Set(denseNormsOf(config, { start: 0, end: config.layerCount }))
  return rest.flatMap(({ name, byteLength }) => {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1] ?? ''
    const isAhead = name.startsWith('mtp.') || (Number(layer) >= config.layerCount && ahead.has(layer))
    const reason = denseNorms.has(name)
      ? 'dense layers have no norm after their MLP'
      : isAhead
        ? 'of a layer for prediction ahead (MTP), which is not run'
        : name.endsWith('rotary_emb.inv_freq')
          ? 'RoPE frequencies are computed from the config'
          : byteLength === 0
            ? 'it holds no value'
            : null
    if (reason !== null) return [{ tensor: name, reason }]
    stored.problems.push(`${quote(name)} is no part of this model`)
    return []
  })
}

/** The norms after the MLP that dense layers have on disk, and the model has not. */
function denseNormsOf({ postMlpNorm, denseLayerCount }: ModelConfig, { start, end }: LayerRange): string[] {
  if (!postMlpNorm) return []
  const layers = Array.from({ length: Math.max(0, Math.min(end, denseLayerCount) - start) }, (_, i) => start + i)
  return layers.flatMap((layer) => postMlpNorms(`model.layers.${layer}`))
}

/** What only layers for prediction ahead have, in DeepSeek-V3's names; the layer's number is captured. */
const AHEAD = /^model\.layers\.(\d+)\.(?:enorm|hnorm|eh_proj)\./

/** transformers takes zeros for an absent bias; other engines leave it to chance. */
function biasWarnings({ expectsRouterBias }: ModelConfig, layers: readonly LayerLayout[]): string[] {
  const routers = layers.flatMap((layer) => (layer.kind === 'experts' ? [layer] : []))
  const without = routers.filter(({ mlp }) => mlp.bias === null)
  if (without.length === 0 || (!expectsRouterBias && without.length === routers.length)) return []
  const which =
    without.length === routers.length ? 'no layer' : `not layers ${without.map(({ index }) => index).join(', ')}`
  const why = expectsRouterBias ? 'topk_method is noaux_tc' : 'other layers have one'
  return [`e_score_correction_bias: ${why}, yet ${which} has one: zeros are taken, as transformers does`]
}

function part(weight: StoredWeight): MatrixPart {
  return { weight, rowStart: 0, rowCount: weight.rowCount }
}

function whole(weight: StoredWeight): MatrixLayout {
  return stack([part(weight)])
}

function stack(parts: readonly MatrixPart[], rowsTogether = 1): MatrixLayout {
  const rowCount = parts.reduce((sum, { rowCount: rows }) => sum + rows, 0)
  return { rowCount, columnCount: parts[0]?.weight.columnCount ?? 0, rowsTogether, parts }
}
