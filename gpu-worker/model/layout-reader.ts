/**
 * Reads a model's weights out of its tensors, in the names of the family: what stands before the first layer and after the
 * last, each layer in either layout of its experts, and what is left over.
 *
 * What is wrong is written down by `StoredTensors`; nothing here throws. It sees no bytes.
 */
import { formatName, sameFormat } from '../kernels/matrix.ts'
import { quote } from './checkpoint-error.ts'
import type { ModelConfig } from './config.ts'
import type {
  AttentionLayout,
  DenseMlpLayout,
  ExpertLayout,
  ExpertMlpLayout,
  LayerLayout,
  LayerRange,
  MatrixLayout,
  MatrixPart,
  ModelLayout,
} from './layout.ts'
import type { StoredWeight } from './row-source.ts'
import type { StoredTensors } from './stored-tensors.ts'

/** What stands before the first layer and after the last. */
export function readEnds(
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

export function readLayer(config: ModelConfig, stored: StoredTensors, index: number): LayerLayout {
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
  const both = `${prefix}.gate_up_proj`
  const parts = stored.hasModule(both)
    ? halves(stored.linear(both, 2 * width, hiddenSize))
    : ['gate_proj', 'up_proj'].map((name) => part(stored.linear(`${prefix}.${name}`, width, hiddenSize)))
  return { gateUp: stack(parts), down: whole(stored.linear(`${prefix}.down_proj`, hiddenSize, width)) }
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
export function sortOut(config: ModelConfig, stored: StoredTensors): ModelLayout['ignored'] {
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
export function denseNormsOf({ postMlpNorm, denseLayerCount }: ModelConfig, { start, end }: LayerRange): string[] {
  if (!postMlpNorm) return []
  const layers = Array.from({ length: Math.max(0, Math.min(end, denseLayerCount) - start) }, (_, i) => start + i)
  return layers.flatMap((layer) => postMlpNorms(`model.layers.${layer}`))
}

/** What only layers for prediction ahead have, in DeepSeek-V3's names; the layer's number is captured. */
const AHEAD = /^model\.layers\.(\d+)\.(?:enorm|hnorm|eh_proj)\./

/** transformers reads no `topk_method`, and takes zeros for an absent bias; other engines leave that to chance. */
export function routingWarnings({ topkMethod }: ModelConfig, layers: readonly LayerLayout[]): string[] {
  const method =
    topkMethod === null || topkMethod === 'noaux_tc'
      ? []
      : [`topk_method is ${topkMethod}: routed as by noaux_tc all the same, as transformers does`]
  return [...method, ...biasWarnings(topkMethod === 'noaux_tc', layers)]
}

function biasWarnings(expectsRouterBias: boolean, layers: readonly LayerLayout[]): string[] {
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

function halves(weight: StoredWeight): MatrixPart[] {
  const rowCount = weight.rowCount / 2
  return [0, rowCount].map((rowStart) => ({ weight, rowStart, rowCount }))
}

function whole(weight: StoredWeight): MatrixLayout {
  return stack([part(weight)])
}

function stack(parts: readonly MatrixPart[], rowsTogether = 1): MatrixLayout {
  const rowCount = parts.reduce((sum, { rowCount: rows }) => sum + rows, 0)
  return { rowCount, columnCount: parts[0]?.weight.columnCount ?? 0, rowsTogether, parts }
}
