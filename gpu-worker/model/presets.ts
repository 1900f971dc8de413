/**
 * Published models known by name, so that a machine can be planned before a terabyte is downloaded.
 *
 * A preset is a config.json and passes the same parser. It holds no weights and says nothing of formats.
 */
import { parseModelConfig, type ModelConfig } from './config.ts'

/**
 * A.X K1 (SK Telecom). The dimensions are proven by the published parameter count, 518,983,059,456, which no other choice
 * gives. The routing and RoPE fields are the model class's defaults and third parties' reading; they change no size.
 */
const AXK1 = {
  architectures: ['AXK1ForCausalLM'],
  model_type: 'axk1',
  vocab_size: 163_840,
  hidden_size: 7168,
  intermediate_size: 18_432,
  moe_intermediate_size: 2048,
  num_hidden_layers: 61,
  first_k_dense_replace: 1,
  moe_layer_freq: 1,
  num_attention_heads: 64,
  num_key_value_heads: 64,
  n_routed_experts: 192,
  n_shared_experts: 1,
  num_experts_per_tok: 8,
  n_group: 8,
  topk_group: 4,
  scoring_func: 'sigmoid',
  topk_method: 'noaux_tc',
  norm_topk_prob: true,
  routed_scaling_factor: 2.5,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  hidden_act: 'silu',
  attention_bias: false,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  max_position_embeddings: 131_072,
  rope_interleave: true,
  rope_theta: 10_000,
  rope_scaling: {
    type: 'yarn',
    factor: 4,
    original_max_position_embeddings: 32_768,
    beta_fast: 32,
    beta_slow: 1,
    mscale: 1,
    mscale_all_dim: 0,
  },
  bos_token_id: 163_691,
  eos_token_id: [163_691, 163_704],
}

const PRESETS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { axk1: AXK1 }

export const presetNames: readonly string[] = Object.keys(PRESETS)

/** Throws RangeError, naming the presets there are. */
export function preset(name: string): ModelConfig {
  return parseModelConfig(presetJson(name))
}

/** config.json as the model's publisher would write it. */
export function presetJson(name: string): Readonly<Record<string, unknown>> {
  const json = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined
  if (json === undefined) throw new RangeError(`There is no preset ${name}: expected ${presetNames.join(' or ')}`)
  return json
}
