/**
 * Every field of config.json that we know, and what each may hold. A field that is not here is refused.
 *
 * What is `harmless` cannot change a logit; what is `only(x)` may be there with that value alone. It compares no fields.
 *
 * The lists come from transformers 5.18 (`PreTrainedConfig`, `AXK1Config`, `DeepseekV3Config`, the generation settings
 * that it drops out of a model's config), from both models' own code before that, and from DeepSeek-V3's published file.
 */
import { z } from 'zod'
import { harmless, only, onlyEmpty } from './config-fields.ts'

/** Keeps every product of two dimensions a safe integer, and every buffer size computed from them exact. */
const DIMENSION_MAX = 1 << 24
export const LAYERS_MAX = 1024
/**
 * The family's largest has 384. The router keeps 8 bytes an expert, 8 a group and 4 a chosen one in workgroup memory:
 * with two experts a group and all chosen 16 an expert, of the 16 KiB that every WebGPU adapter has.
 */
const ROUTED_EXPERTS_MAX = 1024

const size = z.int().min(1).max(DIMENSION_MAX)
const count = z.int().min(0).max(DIMENSION_MAX)

/** Saved by old versions of transformers with every model; its generation settings rule, not these. */
const GENERATION_FIELDS = [
  'do_sample',
  'early_stopping',
  'max_length',
  'min_length',
  'max_new_tokens',
  'min_new_tokens',
  'num_beams',
  'num_beam_groups',
  'num_return_sequences',
  'diversity_penalty',
  'length_penalty',
  'repetition_penalty',
  'no_repeat_ngram_size',
  'encoder_no_repeat_ngram_size',
  'temperature',
  'top_k',
  'top_p',
  'min_p',
  'typical_p',
  'output_scores',
  'return_dict_in_generate',
  'remove_invalid_values',
  'exponential_decay_length_penalty',
] as const

/** Tokens that generation would force or forbid: we would not, so they must be absent. */
const FORCED_TOKEN_FIELDS = [
  'bad_words_ids',
  'suppress_tokens',
  'begin_suppress_tokens',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'decoder_start_token_id',
] as const

/** Of training, of other tasks, of how the reference is run. */
const HARMLESS_FIELDS = [
  '_attn_implementation',
  '_attn_implementation_autoset',
  '_commit_hash',
  '_experts_implementation',
  '_name_or_path',
  'attention_dropout',
  'attn_implementation',
  'auto_map',
  'aux_loss_alpha',
  'chunk_size_feed_forward',
  'custom_pipelines',
  'dtype',
  'ep_size',
  'experts_implementation',
  'finetuning_task',
  'id2label',
  'initializer_range',
  'label2id',
  'name_or_path',
  'num_labels',
  // Layers after the last one, for prediction ahead: not run.
  'num_mtp_layers',
  'num_nextn_predict_layers',
  'output_attentions',
  'output_hidden_states',
  'output_router_logits',
  'pad_token_id',
  'prefix',
  'pretraining_tp',
  'problem_type',
  'return_dict',
  'router_aux_loss_coef',
  'sep_token_id',
  'seq_aux',
  'task_specific_params',
  'tf_legacy_loss',
  'tie_last_hidden_states',
  'tokenizer_class',
  'torch_dtype',
  'torchscript',
  'transformers_version',
  'unsloth_fixed',
  'unsloth_version',
  'use_bfloat16',
  'use_cache',
] as const

export const configFields = z.strictObject({
  architectures: z.array(z.string()).length(1),
  model_type: z.string().optional(),
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  moe_intermediate_size: size,
  num_hidden_layers: z.int().min(1).max(LAYERS_MAX),
  first_k_dense_replace: z.int().min(0).max(LAYERS_MAX),
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  n_routed_experts: z.int().min(1).max(ROUTED_EXPERTS_MAX),
  num_local_experts: size.optional(),
  /** 0 and null: none. */
  n_shared_experts: count.nullable(),
  num_experts_per_tok: size,
  n_group: size,
  topk_group: size,
  routed_scaling_factor: z.number().positive(),
  norm_topk_prob: z.boolean(),
  /** The reference routes one way, whatever stands here; another name than noaux_tc is worth a warning. */
  topk_method: z.enum(['noaux_tc', 'group_limited_greedy', 'greedy']).nullish(),
  /** Null: `q_proj` in one piece. */
  q_lora_rank: size.nullable(),
  kv_lora_rank: size,
  qk_nope_head_dim: size,
  qk_rope_head_dim: size,
  qk_head_dim: size.optional(),
  head_dim: size.optional(),
  v_head_dim: size,
  rms_norm_eps: z.number().positive().max(1),
  max_position_embeddings: size,
  tie_word_embeddings: z.boolean().default(false),
  bos_token_id: count.nullish(),
  eos_token_id: z.union([count, z.array(count).max(64)]).nullish(),
  rope_interleave: z.boolean().default(true),
  // Read by parseRope.
  rope_theta: z.number().optional(),
  rope_scaling: z.unknown().optional(),
  rope_parameters: z.unknown().optional(),
  // Read by parseQuantization.
  quantization_config: z.unknown().optional(),
  compression_config: z.unknown().optional(),

  hidden_act: only('silu'),
  attention_bias: only(false),
  mlp_bias: only(false),
  moe_layer_freq: only(1),
  scoring_func: only('sigmoid'),
  sliding_window: only(null),
  use_sliding_window: only(false),
  layer_types: only(null),
  per_layer_config: only(null),
  partial_rotary_factor: only(1),
  attn_logit_softcapping: only(null),
  final_logit_softcapping: only(null),
  is_decoder: only(false),
  is_encoder_decoder: only(false),
  add_cross_attention: only(false),
  cross_attention_hidden_size: only(null),
  tie_encoder_decoder: only(false),
  pruned_heads: onlyEmpty,

  ...each(FORCED_TOKEN_FIELDS, only(null)),
  ...each(GENERATION_FIELDS, harmless),
  ...each(HARMLESS_FIELDS, harmless),
})

export type ConfigFields = z.infer<typeof configFields>

/** The same judgement for each name; the names stay part of the type, so that a field listed twice does not compile. */
function each<Name extends string, Judge>(names: readonly Name[], judge: Judge): Record<Name, Judge> {
  return Object.fromEntries(names.map((name) => [name, judge])) as Record<Name, Judge> // fromEntries forgets the names
}
