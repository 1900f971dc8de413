/**
 * The shape of a model, out of config.json: every field that changes a result, checked against the others.
 *
 * Two classes, `AXK1ForCausalLM` and `DeepseekV3ForCausalLM`, and two spellings of RoPE (`rope_scaling` + `rope_theta`,
 * `rope_parameters`). A field that `config-schema.ts` does not know is refused, not ignored. It does not know tensors or
 * files, nor how weights are quantised (`quantization.ts`).
 */
import { CheckpointError, quote } from './checkpoint-error.ts'
import { describeProblems } from './config-fields.ts'
import { configFields, type ConfigFields } from './config-schema.ts'
import { parseRope, type Rope } from './rope-config.ts'

export interface ModelConfig {
  readonly architecture: 'axk1' | 'deepseek-v3'
  readonly vocabSize: number
  readonly hiddenSize: number
  /** Width of the dense layers' MLP. */
  readonly intermediateSize: number
  /** Width of one expert; shared experts are `sharedExpertCount` of it side by side. */
  readonly moeIntermediateSize: number
  readonly layerCount: number
  /** Layers 0 … denseLayerCount − 1 have a dense MLP, the others experts. */
  readonly denseLayerCount: number
  readonly headCount: number
  readonly routedExpertCount: number
  /** 0: none. */
  readonly sharedExpertCount: number
  readonly expertsPerToken: number
  /** Experts e with the same ⌊e · groupCount / routedExpertCount⌋ form a group. */
  readonly groupCount: number
  readonly groupsPerToken: number
  readonly routedScalingFactor: number
  /** Whether the chosen experts' weights are divided by their sum. */
  readonly normTopkProb: boolean
  /** Changes no routing, only what is worth a warning. */
  readonly topkMethod: 'noaux_tc' | 'group_limited_greedy' | 'greedy' | null
  /** Null: queries come straight from `q_proj`. */
  readonly qLoraRank: number | null
  readonly kvLoraRank: number
  readonly qkNopeHeadDim: number
  readonly qkRopeHeadDim: number
  readonly vHeadDim: number
  readonly rmsNormEps: number
  /** Of `q_a_layernorm` and `kv_a_layernorm`. */
  readonly latentNormEps: number
  readonly contextTokensMax: number
  readonly rope: Rope
  readonly tieWordEmbeddings: boolean
  readonly bosTokenId: number | null
  readonly eosTokenIds: readonly number[]
  /** RMSNorm after the MLP of every expert layer (the A.X K1 class); on disk for dense layers too, ignored there. */
  readonly postMlpNorm: boolean
}

const ARCHITECTURES = {
  AXK1ForCausalLM: { architecture: 'axk1', modelTypes: ['axk1', 'AXK1'] },
  DeepseekV3ForCausalLM: { architecture: 'deepseek-v3', modelTypes: ['deepseek_v3'] },
} as const

/** 11 times A.X K1's 11,520: whatever a config claims, listing its experts stays a matter of seconds. */
const EXPERTS_IN_ALL_LAYERS_MAX = 1 << 17

/**
 * What the reference gives the norms of the query rank and of the latent, whatever `rms_norm_eps` says: they are made
 * without one (`AXK1Attention`, `DeepseekV3Attention` of transformers 5.18).
 */
const LATENT_NORM_EPS = 1e-6

/** Throws a CheckpointError for config.json that names the field: unknown, missing, contradictory or not supported. */
export function parseModelConfig(json: unknown): ModelConfig {
  const parsed = configFields.safeParse(json)
  if (!parsed.success) throw refuse(describeProblems(parsed.error))
  const raw = parsed.data
  const { architecture } = architectureOf(raw.architectures[0] ?? '', raw.model_type)
  const eos = raw.eos_token_id ?? []
  const config: ModelConfig = {
    architecture,
    vocabSize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    moeIntermediateSize: raw.moe_intermediate_size,
    layerCount: raw.num_hidden_layers,
    denseLayerCount: raw.first_k_dense_replace,
    headCount: raw.num_attention_heads,
    routedExpertCount: raw.n_routed_experts,
    sharedExpertCount: raw.n_shared_experts ?? 0,
    expertsPerToken: raw.num_experts_per_tok,
    groupCount: raw.n_group,
    groupsPerToken: raw.topk_group,
    routedScalingFactor: raw.routed_scaling_factor,
    normTopkProb: raw.norm_topk_prob,
    topkMethod: raw.topk_method ?? null,
    qLoraRank: raw.q_lora_rank,
    kvLoraRank: raw.kv_lora_rank,
    qkNopeHeadDim: raw.qk_nope_head_dim,
    qkRopeHeadDim: raw.qk_rope_head_dim,
    vHeadDim: raw.v_head_dim,
    rmsNormEps: raw.rms_norm_eps,
    latentNormEps: LATENT_NORM_EPS,
    contextTokensMax: raw.max_position_embeddings,
    rope: parseRope(raw),
    tieWordEmbeddings: raw.tie_word_embeddings,
    bosTokenId: raw.bos_token_id ?? null,
    eosTokenIds: [...new Set(typeof eos === 'number' ? [eos] : eos)],
    postMlpNorm: architecture === 'axk1',
  }
  checkTogether(config, raw)
  return config
}

function architectureOf(
  name: string,
  modelType: string | undefined,
): (typeof ARCHITECTURES)['AXK1ForCausalLM' | 'DeepseekV3ForCausalLM'] {
  if (name !== 'AXK1ForCausalLM' && name !== 'DeepseekV3ForCausalLM') {
    throw refuse(`architectures: expected ${Object.keys(ARCHITECTURES).join(' or ')}, got ${quote(name)}`)
  }
  const known = ARCHITECTURES[name]
  const { modelTypes } = known
  if (modelType !== undefined && !modelTypes.some((type) => type === modelType)) {
    throw refuse(`model_type: expected ${modelTypes.join(' or ')} with ${name}, got ${quote(modelType)}`)
  }
  return known
}

/** What must hold between fields; the redundant ones must say what the others say. */
function checkTogether(config: ModelConfig, raw: ConfigFields): void {
  const perGroup = config.routedExpertCount / config.groupCount
  const claims: readonly (readonly [field: string, holds: boolean, expected: string, got: unknown])[] = [
    [
      'num_key_value_heads',
      (raw.num_key_value_heads ?? config.headCount) === config.headCount,
      `${config.headCount} (num_attention_heads)`,
      raw.num_key_value_heads,
    ],
    [
      'head_dim',
      (raw.head_dim ?? config.qkRopeHeadDim) === config.qkRopeHeadDim,
      `${config.qkRopeHeadDim} (qk_rope_head_dim)`,
      raw.head_dim,
    ],
    [
      'num_local_experts',
      (raw.num_local_experts ?? config.routedExpertCount) === config.routedExpertCount,
      `${config.routedExpertCount} (n_routed_experts)`,
      raw.num_local_experts,
    ],
    [
      'n_routed_experts',
      config.routedExpertCount * config.layerCount <= EXPERTS_IN_ALL_LAYERS_MAX,
      `at most ${EXPERTS_IN_ALL_LAYERS_MAX} in ${config.layerCount} layers`,
      config.routedExpertCount,
    ],
    [
      'qk_head_dim',
      (raw.qk_head_dim ?? config.qkNopeHeadDim + config.qkRopeHeadDim) === config.qkNopeHeadDim + config.qkRopeHeadDim,
      `${config.qkNopeHeadDim + config.qkRopeHeadDim} (nope + rope)`,
      raw.qk_head_dim,
    ],
    ['qk_rope_head_dim', config.qkRopeHeadDim % 2 === 0, 'an even number', config.qkRopeHeadDim],
    [
      'first_k_dense_replace',
      config.denseLayerCount <= config.layerCount,
      `at most ${config.layerCount} (num_hidden_layers)`,
      config.denseLayerCount,
    ],
    [
      'n_group',
      Number.isInteger(perGroup),
      `a divisor of ${config.routedExpertCount} (n_routed_experts)`,
      config.groupCount,
    ],
    // A group's score is the sum of its two best experts.
    [
      'n_group',
      perGroup >= 2,
      `at least two experts in a group of ${config.routedExpertCount} in all`,
      config.groupCount,
    ],
    [
      'topk_group',
      config.groupsPerToken <= config.groupCount,
      `at most ${config.groupCount} (n_group)`,
      config.groupsPerToken,
    ],
    [
      'num_experts_per_tok',
      config.expertsPerToken <= perGroup * config.groupsPerToken,
      `at most ${perGroup * config.groupsPerToken} (experts in the kept groups)`,
      config.expertsPerToken,
    ],
    [
      'bos_token_id',
      (config.bosTokenId ?? 0) < config.vocabSize,
      `below ${config.vocabSize} (vocab_size)`,
      config.bosTokenId,
    ],
    [
      'eos_token_id',
      config.eosTokenIds.every((id) => id < config.vocabSize),
      `below ${config.vocabSize} (vocab_size)`,
      config.eosTokenIds,
    ],
  ]
  for (const [field, holds, expected, got] of claims) {
    if (!holds) throw refuse(`${field}: expected ${expected}, got ${quote(got)}`)
  }
}

function refuse(problem: string): CheckpointError {
  return new CheckpointError('config.json', problem)
}
