/**
 * The model's weights by layer: which tensors make which matrix, in either layout on disk.
 *
 *     fused      …mlp.experts.gate_up_proj [experts, 2 · width, hidden], …mlp.experts.down_proj [experts, hidden, width]
 *     per expert …mlp.experts.E.{gate,up,down}_proj.weight
 *
 * Values stay as stored. `post_mlp_layernorm` of dense layers is on disk and ignored, as transformers does.
 */
import type { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Uploader } from '../gpu/upload.ts'
import type { Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import type { AttentionWeights } from '../layers/attention.ts'
import type { DenseMlpWeights } from '../layers/dense-mlp.ts'
import type { ExpertMlpWeights } from '../layers/expert-mlp.ts'
import type { OutputWeights } from '../layers/output.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { ModelConfig } from './config.ts'
import { loadExperts } from './expert-weights.ts'
import { WeightLoader } from './weight-loader.ts'

export type LayerWeights = {
  readonly attentionNorm: NormWeight
  readonly attention: AttentionWeights
  readonly mlpNorm: NormWeight
} & (
  | { readonly kind: 'dense'; readonly mlp: DenseMlpWeights }
  | { readonly kind: 'experts'; readonly mlp: ExpertMlpWeights }
)

export interface ModelWeights {
  /** [vocab, hidden] */
  readonly embedding: Matrix
  readonly layers: readonly LayerWeights[]
  readonly output: OutputWeights
}

export interface LoadProgress {
  readonly bytesDone: number
  readonly bytesTotal: number
}

/** Loads everything; the buffers belong to `buffers`. Throws CheckpointError, or GpuError 'limit'. */
export async function loadWeights(
  gpu: Gpu,
  checkpoint: Checkpoint,
  buffers: Buffers,
  onProgress: (progress: LoadProgress) => void,
): Promise<ModelWeights> {
  const bytesTotal = [...checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0)
  let bytesDone = 0
  const uploader = new Uploader(gpu)
  const loader = new WeightLoader(checkpoint, buffers, uploader, (bytes) => {
    bytesDone += bytes
    onProgress({ bytesDone, bytesTotal })
  })
  try {
    return await loadModel(checkpoint.config, loader, buffers)
  } finally {
    await uploader.close()
  }
}

async function loadModel(config: ModelConfig, loader: WeightLoader, buffers: Buffers): Promise<ModelWeights> {
  const { vocabSize, hiddenSize } = config
  const table = { tensor: 'model.embed_tokens.weight', tensorRowCount: vocabSize }
  const embedding = await loader.matrix([table], hiddenSize)
  const experts = await loadExperts(config, loader, buffers)
  const layers: LayerWeights[] = []
  for (let layer = 0; layer < config.layerCount; layer++) {
    const prefix = `model.layers.${layer}`
    const shared = {
      attentionNorm: await loader.norm(`${prefix}.input_layernorm.weight`, hiddenSize),
      attention: await loadAttention(config, loader, `${prefix}.self_attn`),
      mlpNorm: await loader.norm(`${prefix}.post_attention_layernorm.weight`, hiddenSize),
    }
    const own = experts[layer - config.denseLayerCount]
    if (own === undefined)
      layers.push({ ...shared, kind: 'dense', mlp: await loadDense(config, loader, `${prefix}.mlp`) })
    else
      layers.push({
        ...shared,
        kind: 'experts',
        mlp: { ...(await loadExpertMlp(config, loader, prefix)), experts: own },
      })
  }
  const norm = await loader.norm('model.norm.weight', hiddenSize)
  const head = config.tieWordEmbeddings
    ? embedding
    : await loader.matrix([{ tensor: 'lm_head.weight', tensorRowCount: vocabSize }], hiddenSize)
  return { embedding, layers, output: { norm, head } }
}

async function loadAttention(config: ModelConfig, loader: WeightLoader, prefix: string): Promise<AttentionWeights> {
  const { hiddenSize, headCount, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const queryRows = headCount * (qkNopeHeadDim + qkRopeHeadDim)
  const first =
    qLoraRank === null
      ? { tensor: `${prefix}.q_proj.weight`, tensorRowCount: queryRows }
      : { tensor: `${prefix}.q_a_proj.weight`, tensorRowCount: qLoraRank }
  const latent = { tensor: `${prefix}.kv_a_proj_with_mqa.weight`, tensorRowCount: kvLoraRank + qkRopeHeadDim }
  const headRows = qkNopeHeadDim + vHeadDim
  const kvB = { tensor: `${prefix}.kv_b_proj.weight`, tensorRowCount: headCount * headRows }
  const up = { tensor: `${prefix}.q_b_proj.weight`, tensorRowCount: queryRows }
  return {
    project: await loader.matrix([first, latent], hiddenSize),
    lowRankQuery:
      qLoraRank === null
        ? null
        : {
            norm: await loader.norm(`${prefix}.q_a_layernorm.weight`, qLoraRank),
            up: await loader.matrix([up], qLoraRank),
          },
    latentNorm: await loader.norm(`${prefix}.kv_a_layernorm.weight`, kvLoraRank),
    kvB: await loader.matrix([kvB], kvLoraRank, headRows),
    out: await loader.matrix([{ tensor: `${prefix}.o_proj.weight`, tensorRowCount: hiddenSize }], headCount * vHeadDim),
  }
}

async function loadDense(config: ModelConfig, loader: WeightLoader, prefix: string): Promise<DenseMlpWeights> {
  const { hiddenSize, intermediateSize } = config
  const half = (name: string) => ({ tensor: `${prefix}.${name}.weight`, tensorRowCount: intermediateSize })
  return {
    gateUp: await loader.matrix([half('gate_proj'), half('up_proj')], hiddenSize),
    down: await loader.matrix([{ tensor: `${prefix}.down_proj.weight`, tensorRowCount: hiddenSize }], intermediateSize),
  }
}

async function loadExpertMlp(
  config: ModelConfig,
  loader: WeightLoader,
  layerPrefix: string,
): Promise<Omit<ExpertMlpWeights, 'experts'>> {
  const { hiddenSize, moeIntermediateSize, sharedExpertCount, routedExpertCount } = config
  const prefix = `${layerPrefix}.mlp`
  const width = moeIntermediateSize * sharedExpertCount
  const half = (name: string) => ({ tensor: `${prefix}.shared_experts.${name}.weight`, tensorRowCount: width })
  const router = { tensor: `${prefix}.gate.weight`, tensorRowCount: routedExpertCount }
  const down = { tensor: `${prefix}.shared_experts.down_proj.weight`, tensorRowCount: hiddenSize }
  const norm = [`${layerPrefix}.post_mlp_layernorm.weight`, `${prefix}.post_mlp_layernorm.weight`]
  return {
    routerAndShared: await loader.matrix(
      width === 0 ? [router] : [router, half('gate_proj'), half('up_proj')],
      hiddenSize,
    ),
    bias: await loader.f32(`${prefix}.gate.e_score_correction_bias`, routedExpertCount),
    sharedDown: width === 0 ? null : await loader.matrix([down], width),
    norm: config.postMlpNorm
      ? await loader.norm(norm.find((name) => loader.has(name)) ?? norm.join(' or '), hiddenSize)
      : null,
  }
}
