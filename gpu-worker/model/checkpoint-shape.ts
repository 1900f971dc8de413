/**
 * The tensors that a checkpoint of a given config has: names, stored types and shapes, for a mix of formats — and the
 * published configs known by name. A plan, a conversion and a bench need these before, or without, any file.
 *
 *     fused       …mlp.experts.gate_up_proj [experts, 2 · width, hidden]          bf16 only
 *     per expert  …mlp.experts.E.{gate,up,down}_proj.weight                       bf16
 *                 ….weight_packed i32, ….weight_scale bf16, ….weight_shape i64    int4, int8: compressed-tensors
 *                 ….weight f8_e4m3, ….weight_scale_inv f32                        fp8, a scale a 128 × 128 block
 *
 * Router, norms, embedding, head and biases are never quantised. It reads no file and holds no value of a weight.
 */
import type { ModelConfig } from './config.ts'
import { parseQuantization, type Quantization } from './quantization.ts'
import type { StoredType, TensorInfo } from './safetensors.ts'

export { preset } from './presets.ts'

export type ExpertStorage = 'bf16' | 'int4' | 'int8' | 'fp8'
export type RestStorage = 'bf16' | 'int8'

export interface CheckpointMix {
  readonly experts: ExpertStorage
  /** Attention, dense MLPs and shared experts. */
  readonly rest: RestStorage
  /** Columns that share a scale, in int4 and int8. */
  readonly group: number
  /** Where every routed expert is bf16; quantised experts are always stored one by one. */
  readonly layout: 'fused' | 'per-expert'
}

export interface CheckpointShape {
  /** In the order of one file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** What config.json says of it; null when nothing is quantised. */
  readonly quantizationConfig: Readonly<Record<string, unknown>> | null
  /** The same, parsed. */
  readonly quantization: Quantization | null
}

/** fp8 checkpoints of the family (DeepSeek-V3's) share a scale among this many rows and columns. */
export const FP8_BLOCK = 128

/** Throws RangeError for a mix that no checkpoint can state. */
export function checkpointShape(config: ModelConfig, mix: CheckpointMix): CheckpointShape {
  checkMix(mix)
  const tensors = new Map<string, TensorInfo>()
  const add = (name: string, type: StoredType, shape: readonly number[]): void => {
    const byteLength = shape.reduce((product, size) => product * size, ELEMENT_BYTES[type] ?? 0)
    tensors.set(name, { name, type, shape, byteLength })
  }
  add('model.embed_tokens.weight', 'bf16', [config.vocabSize, config.hiddenSize])
  for (let layer = 0; layer < config.layerCount; layer++) {
    for (const { name, shape, type } of layerVectors(config, layer)) add(name, type, shape)
    if (layer >= config.denseLayerCount && isFused(mix)) addFusedExperts(config, layer, add)
    for (const linear of layerLinears(config, layer)) {
      if (linear.part === 'experts' && isFused(mix)) continue
      addLinear(linear, mix, add)
    }
  }
  add('model.norm.weight', 'bf16', [config.hiddenSize])
  if (!config.tieWordEmbeddings) add('lm_head.weight', 'bf16', [config.vocabSize, config.hiddenSize])
  const stated = quantizationConfig(config, mix)
  return { tensors, quantizationConfig: stated, quantization: parseQuantization({ quantization_config: stated }) }
}

type Add = (name: string, type: StoredType, shape: readonly number[]) => void

const ELEMENT_BYTES: Partial<Record<StoredType, number>> = { bf16: 2, f32: 4, i32: 4, i64: 8, f8_e4m3: 1 }

function checkMix({ experts, rest, group }: CheckpointMix): void {
  if (!Number.isInteger(group) || group < 1) throw new RangeError(`Expected a group of 1 column or more, got ${group}`)
  if (experts === 'fp8' && rest === 'int8')
    throw new RangeError('fp8 experts go with a bf16 rest: no quantization_config states fp8 and int8 together')
}

function isFused({ experts, layout }: CheckpointMix): boolean {
  return experts === 'bf16' && layout === 'fused'
}

/** A weight matrix [rows, columns] and how a mix treats it. */
interface Linear {
  readonly module: string
  readonly part: 'experts' | 'rest' | 'router'
  readonly rows: number
  readonly columns: number
}

function layerLinears(config: ModelConfig, layer: number): Linear[] {
  const { hiddenSize, headCount, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const prefix = `model.layers.${layer}`
  const attention = (name: string, rows: number, columns: number): Linear => ({
    module: `${prefix}.self_attn.${name}`,
    part: 'rest',
    rows,
    columns,
  })
  const queryRows = headCount * (qkNopeHeadDim + qkRopeHeadDim)
  const queries =
    qLoraRank === null
      ? [attention('q_proj', queryRows, hiddenSize)]
      : [attention('q_a_proj', qLoraRank, hiddenSize), attention('q_b_proj', queryRows, qLoraRank)]
  return [
    ...queries,
    attention('kv_a_proj_with_mqa', kvLoraRank + qkRopeHeadDim, hiddenSize),
    attention('kv_b_proj', headCount * (qkNopeHeadDim + vHeadDim), kvLoraRank),
    attention('o_proj', hiddenSize, headCount * vHeadDim),
    ...(layer < config.denseLayerCount
      ? mlp(`${prefix}.mlp`, 'rest', hiddenSize, config.intermediateSize)
      : expertLinears(config, `${prefix}.mlp`)),
  ]
}

function expertLinears(config: ModelConfig, prefix: string): Linear[] {
  const { hiddenSize, moeIntermediateSize: width, routedExpertCount, sharedExpertCount } = config
  return [
    { module: `${prefix}.gate`, part: 'router', rows: routedExpertCount, columns: hiddenSize },
    ...Array.from({ length: routedExpertCount }, (_, expert) =>
      mlp(`${prefix}.experts.${expert}`, 'experts', hiddenSize, width),
    ).flat(),
    ...mlp(`${prefix}.shared_experts`, 'rest', hiddenSize, width * sharedExpertCount),
  ]
}

function mlp(prefix: string, part: Linear['part'], hidden: number, width: number): Linear[] {
  return [
    { module: `${prefix}.gate_proj`, part, rows: width, columns: hidden },
    { module: `${prefix}.up_proj`, part, rows: width, columns: hidden },
    { module: `${prefix}.down_proj`, part, rows: hidden, columns: width },
  ]
}

function addLinear({ module, part, rows, columns }: Linear, mix: CheckpointMix, add: Add): void {
  const storage = part === 'router' ? 'bf16' : mix[part]
  switch (storage) {
    case 'bf16':
      add(`${module}.weight`, 'bf16', [rows, columns])
      return
    case 'fp8':
      add(`${module}.weight`, 'f8_e4m3', [rows, columns])
      add(`${module}.weight_scale_inv`, 'f32', [Math.ceil(rows / FP8_BLOCK), Math.ceil(columns / FP8_BLOCK)])
      return
    case 'int4':
    case 'int8': {
      const valuesPerWord = storage === 'int4' ? 8 : 4
      add(`${module}.weight_packed`, 'i32', [rows, Math.ceil(columns / valuesPerWord)])
      add(`${module}.weight_scale`, 'bf16', [rows, Math.ceil(columns / mix.group)])
      add(`${module}.weight_shape`, 'i64', [2])
      return
    }
    default:
      storage satisfies never
  }
}

function addFusedExperts(config: ModelConfig, layer: number, add: Add): void {
  const { hiddenSize, moeIntermediateSize: width, routedExpertCount } = config
  add(`model.layers.${layer}.mlp.experts.gate_up_proj`, 'bf16', [routedExpertCount, 2 * width, hiddenSize])
  add(`model.layers.${layer}.mlp.experts.down_proj`, 'bf16', [routedExpertCount, hiddenSize, width])
}

/** Norms and biases. A.X K1 has `post_mlp_layernorm` on every layer, dense ones included, and ships no router bias. */
function layerVectors(
  config: ModelConfig,
  layer: number,
): { readonly name: string; readonly type: StoredType; readonly shape: readonly number[] }[] {
  const { hiddenSize, qLoraRank, kvLoraRank, postMlpNorm, routedExpertCount } = config
  const prefix = `model.layers.${layer}`
  const norm = (name: string, width: number) => ({
    name: `${prefix}.${name}.weight`,
    type: 'bf16' as const,
    shape: [width],
  })
  const bias = `${prefix}.mlp.gate.e_score_correction_bias`
  const hasBias = config.architecture === 'deepseek-v3' && layer >= config.denseLayerCount
  return [
    norm('input_layernorm', hiddenSize),
    norm('post_attention_layernorm', hiddenSize),
    ...(postMlpNorm ? [norm('post_mlp_layernorm', hiddenSize)] : []),
    ...(qLoraRank === null ? [] : [norm('self_attn.q_a_layernorm', qLoraRank)]),
    norm('self_attn.kv_a_layernorm', kvLoraRank),
    ...(hasBias ? [{ name: bias, type: 'f32' as const, shape: [routedExpertCount] }] : []),
  ]
}

const EXPERT_MODULES = String.raw`re:.*\.mlp\.experts\.\d+\.(gate|up|down)_proj$`
const REST_MODULES = [
  String.raw`re:.*\.self_attn\.(q_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj)$`,
  String.raw`re:.*\.mlp\.shared_experts\.(gate|up|down)_proj$`,
  String.raw`re:.*\.layers\.\d+\.mlp\.(gate|up|down)_proj$`,
]
const ROUTER_MODULES = String.raw`re:.*\.mlp\.gate$`

/** Every Linear is either in one group's targets or in `ignore`: readers refuse what is in neither. */
function quantizationConfig(config: ModelConfig, mix: CheckpointMix): CheckpointShape['quantizationConfig'] {
  const { experts, rest, group } = mix
  if (experts === 'fp8') return fp8Config(config)
  if (experts === 'bf16' && rest === 'bf16') return null
  const groups: { targets: readonly string[]; bits: number }[] = []
  const ignore = ['lm_head', ROUTER_MODULES]
  if (experts === 'bf16') ignore.push(EXPERT_MODULES)
  else groups.push({ targets: [EXPERT_MODULES], bits: experts === 'int4' ? 4 : 8 })
  if (rest === 'bf16') ignore.push(...REST_MODULES)
  else groups.push({ targets: REST_MODULES, bits: 8 })
  const weights = (bits: number) => ({
    num_bits: bits,
    type: 'int',
    symmetric: true,
    strategy: 'group',
    group_size: group,
    dynamic: false,
  })
  return {
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    quantization_status: 'compressed',
    ignore,
    config_groups: Object.fromEntries(
      groups.map(({ targets, bits }, i) => [
        `group_${i}`,
        { targets, input_activations: null, output_activations: null, weights: weights(bits) },
      ]),
    ),
  }
}

/** `modules_to_not_convert` takes module names, not patterns. */
function fp8Config(config: ModelConfig): Record<string, unknown> {
  const linears = Array.from({ length: config.layerCount }, (_, layer) => layerLinears(config, layer)).flat()
  return {
    quant_method: 'fp8',
    fmt: 'e4m3',
    activation_scheme: 'dynamic',
    weight_block_size: [FP8_BLOCK, FP8_BLOCK],
    modules_to_not_convert: [
      'lm_head',
      ...linears.filter(({ part }) => part !== 'experts').map(({ module }) => module),
    ],
  }
}
