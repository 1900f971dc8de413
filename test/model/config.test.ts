/** config.json in both spellings and both classes, and every way to get it wrong. */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { parseModelConfig } from '../../gpu-worker/model/config.ts'

type Fields = Record<string, unknown>

function golden(name: string): Fields {
  const json: unknown = JSON.parse(readFileSync(`test/goldens/${name}/config.json`, 'utf8'))
  return { ...(json as Fields) } // test data of our own
}

const axk1 = golden('yarn-fused-bf16')
const older = golden('bias-sharded')

/** What A.X K1 is known to have (519B parameters). */
const k1: Fields = {
  architectures: ['AXK1ForCausalLM'],
  model_type: 'AXK1',
  vocab_size: 163_840,
  hidden_size: 7168,
  intermediate_size: 18_432,
  moe_intermediate_size: 2048,
  num_hidden_layers: 61,
  first_k_dense_replace: 1,
  num_attention_heads: 64,
  num_key_value_heads: 64,
  n_routed_experts: 192,
  n_shared_experts: 1,
  num_experts_per_tok: 8,
  n_group: 8,
  topk_group: 4,
  routed_scaling_factor: 2.5,
  norm_topk_prob: true,
  scoring_func: 'sigmoid',
  topk_method: 'noaux_tc',
  moe_layer_freq: 1,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  rms_norm_eps: 1e-6,
  hidden_act: 'silu',
  attention_bias: false,
  tie_word_embeddings: false,
  max_position_embeddings: 131_072,
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
  eos_token_id: 163_691,
  pad_token_id: null,
  auto_map: { AutoConfig: 'configuration_AXK1.AXK1Config' },
}

/** DeepSeek-V3's config.json, 671B parameters, without its quantization_config. */
const deepseekV3: Fields = {
  architectures: ['DeepseekV3ForCausalLM'],
  attention_bias: false,
  attention_dropout: 0,
  auto_map: { AutoConfig: 'configuration_deepseek.DeepseekV3Config' },
  bos_token_id: 0,
  eos_token_id: 1,
  ep_size: 1,
  first_k_dense_replace: 3,
  hidden_act: 'silu',
  hidden_size: 7168,
  initializer_range: 0.02,
  intermediate_size: 18_432,
  kv_lora_rank: 512,
  max_position_embeddings: 163_840,
  model_type: 'deepseek_v3',
  moe_intermediate_size: 2048,
  moe_layer_freq: 1,
  n_group: 8,
  n_routed_experts: 256,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_attention_heads: 128,
  num_experts_per_tok: 8,
  num_hidden_layers: 61,
  num_key_value_heads: 128,
  num_nextn_predict_layers: 1,
  q_lora_rank: 1536,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  rms_norm_eps: 1e-6,
  rope_scaling: {
    beta_fast: 32,
    beta_slow: 1,
    factor: 40,
    mscale: 1,
    mscale_all_dim: 1,
    original_max_position_embeddings: 4096,
    type: 'yarn',
  },
  rope_theta: 10_000,
  routed_scaling_factor: 2.5,
  scoring_func: 'sigmoid',
  tie_word_embeddings: false,
  topk_group: 4,
  topk_method: 'noaux_tc',
  torch_dtype: 'bfloat16',
  transformers_version: '4.33.1',
  use_cache: true,
  v_head_dim: 128,
  vocab_size: 129_280,
}

/** Anything else is thrown on. */
function isBoundedOrRefused(json: unknown): boolean {
  try {
    const config = parseModelConfig(json)
    return config.hiddenSize * config.vocabSize <= 2 ** 48 && config.routedExpertCount % config.groupCount === 0
  } catch (error) {
    if (error instanceof CheckpointError) return true
    throw error
  }
}

const yarn = { ...(axk1['rope_parameters'] as Fields) }
const rope = (change: Fields): unknown => parseModelConfig({ ...axk1, rope_parameters: { ...yarn, ...change } }).rope

describe('parseModelConfig', () => {
  it("reads A.X K1's own shape", () => {
    expect(parseModelConfig(k1)).toMatchObject({
      architecture: 'axk1',
      layerCount: 61,
      routedExpertCount: 192,
      qLoraRank: 1536,
      contextTokensMax: 131_072,
      eosTokenIds: [163_691],
      postMlpNorm: true,
      rope: {
        theta: 10_000,
        interleaved: true,
        scaling: { kind: 'yarn', factor: 4, mscale: 1, mscaleAllDim: 0, attentionFactor: null },
      },
    })
  })

  it('reads both spellings of RoPE alike', () => {
    const { rope_scaling: scaling, rope_theta: theta, ...rest } = older
    const newer = { ...rest, rope_parameters: { ...(scaling as Fields), rope_theta: theta } }
    expect(parseModelConfig(newer)).toEqual(parseModelConfig(older))
    expect(parseModelConfig({ ...newer, rope_scaling: scaling, rope_theta: theta })).toEqual(parseModelConfig(older))
  })

  it('reads a missing RoPE block, and a null one, as plain RoPE', () => {
    const plain = { ...axk1, rope_theta: 5000, rope_parameters: undefined }
    const expected = { theta: 5000, interleaved: true, scaling: { kind: 'none' } }
    expect(parseModelConfig(plain).rope).toEqual(expected)
    expect(parseModelConfig({ ...plain, rope_scaling: null }).rope).toEqual(expected)
  })

  it('knows the two classes apart: only A.X K1 has a norm after its MLP', () => {
    const deepseek = parseModelConfig(golden('deepseek-no-q-lora'))
    expect(deepseek).toMatchObject({ architecture: 'deepseek-v3', postMlpNorm: false, qLoraRank: null })
    expect(parseModelConfig(axk1)).toMatchObject({ architecture: 'axk1', postMlpNorm: true, qLoraRank: 48 })
  })

  it('takes one end token, several, or none', () => {
    expect(parseModelConfig({ ...axk1, eos_token_id: [3, 1, 3] }).eosTokenIds).toEqual([3, 1])
    expect(parseModelConfig({ ...axk1, eos_token_id: null }).eosTokenIds).toEqual([])
  })

  it('reads no shared expert out of 0 and null', () => {
    expect(parseModelConfig({ ...axk1, n_shared_experts: 0 }).sharedExpertCount).toBe(0)
    expect(parseModelConfig({ ...axk1, n_shared_experts: null }).sharedExpertCount).toBe(0)
  })

  it('reads topk_method, which the reference does not, and leaves it to warnings', () => {
    expect(parseModelConfig(k1).topkMethod).toBe('noaux_tc')
    expect(parseModelConfig({ ...k1, topk_method: 'greedy' }).topkMethod).toBe('greedy')
    expect(parseModelConfig(axk1).topkMethod).toBe(null)
  })

  it('gives the latent norms an epsilon of their own, as the reference does', () => {
    expect(parseModelConfig({ ...axk1, rms_norm_eps: 1e-3 })).toMatchObject({ rmsNormEps: 1e-3, latentNormEps: 1e-6 })
  })

  it("reads DeepSeek-V3's published config", () => {
    expect(parseModelConfig(deepseekV3)).toMatchObject({
      architecture: 'deepseek-v3',
      layerCount: 61,
      denseLayerCount: 3,
      routedExpertCount: 256,
      rope: { scaling: { kind: 'yarn', factor: 40, mscale: 1, mscaleAllDim: 1 } },
    })
  })

  it.each<[what: string, change: Fields]>([
    ['fields of other tasks', { id2label: { 0: 'LABEL_0' }, num_labels: 2, problem_type: null, finetuning_task: null }],
    [
      'generation settings of old versions',
      { max_length: 20, do_sample: false, temperature: 1, num_beams: 1, top_k: 50 },
    ],
    [
      'switches that are off',
      { is_decoder: false, tie_encoder_decoder: false, pruned_heads: {}, sliding_window: null },
    ],
    ['tokens that nothing forces', { bad_words_ids: null, suppress_tokens: null, forced_eos_token_id: null }],
    ['the second name of the experts', { num_local_experts: 16 }],
    ['how many layers predict ahead', { num_nextn_predict_layers: 1, num_mtp_layers: 1 }],
    ['a quantization_config, which is read elsewhere', { quantization_config: { quant_method: 'fp8' } }],
    ['a null number of key-value heads', { num_key_value_heads: null }],
  ])('takes %s', (_what, change) => {
    expect(parseModelConfig({ ...axk1, ...change })).toEqual(parseModelConfig(axk1))
  })

  it('reads zero and null in YaRN as the reference does: as absent', () => {
    expect(rope({ beta_fast: 0, beta_slow: null })).toEqual(rope({ beta_fast: 32, beta_slow: 1 }))
    expect(rope({ mscale: null, mscale_all_dim: null })).toEqual(rope({ mscale: 0, mscale_all_dim: 0 }))
    expect(rope({ truncate: true, partial_rotary_factor: 1 })).toEqual(rope({}))
  })

  it.each<[field: string, change: Fields]>([
    ['architectures', { architectures: ['LlamaForCausalLM'] }],
    ['architectures', { architectures: [] }],
    ['model_type', { model_type: 'deepseek_v3' }],
    ['vocab_size', { vocab_size: undefined }],
    ['vocab_size', { vocab_size: 0 }],
    ['hidden_size', { hidden_size: 1.5 }],
    ['hidden_size', { hidden_size: 2 ** 40 }],
    ['hidden_size', { hidden_size: '64' }],
    ['num_hidden_layers', { num_hidden_layers: 1e9 }],
    ['first_k_dense_replace', { first_k_dense_replace: 5 }],
    ['num_key_value_heads', { num_key_value_heads: 2 }],
    ['head_dim', { head_dim: 16 }],
    ['qk_head_dim', { qk_head_dim: 32 }],
    ['qk_rope_head_dim', { qk_rope_head_dim: 7, head_dim: 7, qk_head_dim: 23 }],
    ['n_group', { n_group: 3 }],
    ['n_group', { n_group: 16 }],
    ['topk_group', { topk_group: 5 }],
    ['num_experts_per_tok', { num_experts_per_tok: 9 }],
    ['norm_topk_prob', { norm_topk_prob: undefined }],
    ['eos_token_id', { eos_token_id: 512 }],
    ['hidden_act', { hidden_act: 'gelu' }],
    ['attention_bias', { attention_bias: true }],
    ['scoring_func', { scoring_func: 'softmax' }],
    ['topk_method', { topk_method: 'sinkhorn' }],
    ['moe_layer_freq', { moe_layer_freq: 2 }],
    ['"index_topk"', { index_topk: 2048 }],
    ['n_shared_experts', { n_shared_experts: -1 }],
    ['num_local_experts', { num_local_experts: 8 }],
    ['n_routed_experts: Too big: expected number to be <=1024', { n_routed_experts: 1032 }],
    ['n_routed_experts: expected at most', { n_routed_experts: 1024, num_hidden_layers: 129 }],
    ['suppress_tokens: not supported yet', { suppress_tokens: [5] }],
    ['sliding_window', { sliding_window: 4096 }],
    ['layer_types', { layer_types: ['full_attention'] }],
    ['per_layer_config', { per_layer_config: { 0: {} } }],
    ['pruned_heads', { pruned_heads: { 0: [1] } }],
    ['is_encoder_decoder', { is_encoder_decoder: true }],
    ['partial_rotary_factor', { partial_rotary_factor: 0.5 }],
    ['rope_parameters: partial_rotary_factor', { rope_parameters: { ...yarn, partial_rotary_factor: 0.5 } }],
    ['rope_parameters: truncate', { rope_parameters: { ...yarn, truncate: false } }],
    ['rope_parameters: truncate', { rope_parameters: { ...yarn, truncate: null } }],
    ['rope_parameters: factor', { rope_parameters: { ...yarn, factor: null } }],
    ['rope_theta', { rope_theta: 1 }],
    ['rope_theta: expected a number above 1', { rope_theta: 1, rope_parameters: { ...yarn, rope_theta: 1 } }],
    ['rope_theta: expected a number above 1', { rope_theta: 1e-300, rope_parameters: { rope_type: 'default' } }],
    ['rope_theta: expected a number above 1', { rope_theta: 1e300, rope_parameters: { rope_type: 'default' } }],
    ['rope_parameters: factor', { rope_parameters: { ...yarn, factor: 0.5 } }],
    ['rope_parameters: rope_theta', { rope_parameters: { ...yarn, rope_theta: -1 } }],
    ['rope_parameters.rope_type', { rope_parameters: { ...yarn, rope_type: 'llama3', type: 'llama3' } }],
    ['rope_parameters.type', { rope_parameters: { ...yarn, type: 'linear' } }],
    ['rope_parameters: unknown field "short_factor"', { rope_parameters: { ...yarn, short_factor: [1] } }],
    ['rope_scaling', { rope_scaling: { ...yarn, mscale_all_dim: 1 } }],
    ['rope_scaling', { rope_scaling: 4 }],
  ])('refuses by name a wrong %s', (field, change) => {
    const parse = (): unknown => parseModelConfig({ ...axk1, ...change })
    expect(parse).toThrow(CheckpointError)
    expect(parse).toThrow(field)
  })

  it('of any JSON, returns a config within bounds or names a field: 1,000 mutated configs', () => {
    const keys = Object.keys({ ...axk1, ...older })
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.integer(), fc.double(), fc.constant(undefined))
    const change = fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value, { maxKeys: 4 })
    fc.assert(
      fc.property(fc.constantFrom(axk1, older, k1), change, (base, changes) => {
        expect(isBoundedOrRefused({ ...base, ...changes })).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })
})
