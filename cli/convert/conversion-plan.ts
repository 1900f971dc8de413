/**
 * What a conversion writes, before a byte is read: every tensor of the result in order, where it comes from, its shard.
 *
 *     …mlp.experts.gate_up_proj [experts, 2 · width, hidden]   ─▶  …mlp.experts.E.{gate,up}_proj.weight_{packed,scale,shape}
 *     …mlp.experts.E.down_proj.weight                          ─▶  …mlp.experts.E.down_proj.weight_{packed,scale,shape}
 *     router, norms, embedding, head, biases, what no model layer uses        as stored
 *
 * Pure, and a function of its arguments alone: a second run makes the same plan. It holds no value of a weight.
 */
import { bytesPerValue, type PlainFormat } from '../../gpu-worker/kernels/matrix.ts'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { checkpointShape } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { TensorInfo } from '../../gpu-worker/model/safetensors.ts'
import { groupCount, packedWords, type GroupFormat } from './group-quantizer.ts'
import { ignoreUnquantized } from './ignored-modules.ts'

export interface ConversionMix {
  readonly experts: 'int4' | 'int8'
  /** Attention, dense MLPs and shared experts; bf16 stands for: as stored. */
  readonly rest: 'bf16' | 'int8'
  /** Columns that share a scale. */
  readonly group: number
}

/** Rows of a source tensor, its leading axes counted through. */
export interface SourceRows {
  readonly tensor: string
  readonly type: PlainFormat
  readonly rowStart: number
  readonly rowCount: number
  readonly columnCount: number
}

export type ConversionStep =
  | { readonly kind: 'copy'; readonly tensor: TensorInfo }
  | {
      readonly kind: 'quantize'
      readonly module: string
      readonly format: GroupFormat
      readonly source: SourceRows
      /** i32 [rows, words] */
      readonly packed: TensorInfo
      /** bf16 [rows, groups] */
      readonly scale: TensorInfo
      /** i64 [2] */
      readonly shape: TensorInfo
    }

export interface ShardPlan {
  readonly file: string
  readonly steps: readonly ConversionStep[]
  /** Bytes read for it. */
  readonly sourceBytes: number
  /** Bytes of its tensors. */
  readonly dataBytes: number
}

export interface ConversionPlan {
  readonly shards: readonly ShardPlan[]
  /** For config.json. */
  readonly quantizationConfig: Readonly<Record<string, unknown>>
}

/** Throws CheckpointError for a tensor that is missing, misshapen or not of floats. */
export function planConversion(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  mix: ConversionMix,
  shardBytesMax: number,
): ConversionPlan {
  const wanted = checkpointShape(config, { ...mix, layout: 'per-expert' })
  if (wanted.quantizationConfig === null) throw new RangeError(`Nothing to quantise: ${JSON.stringify(mix)}`)
  const used = new Set<string>()
  const steps: ConversionStep[] = []
  for (const { name } of wanted.tensors.values()) {
    const module = /^(.+)\.weight_packed$/.exec(name)?.[1]
    const plain = tensors.get(name)
    if (module !== undefined) {
      const step = planModule(module, wanted.tensors, tensors, mix)
      used.add(step.source.tensor)
      steps.push(step)
    } else if (plain !== undefined) {
      used.add(name)
      steps.push({ kind: 'copy', tensor: plain })
    }
  }
  const others = [...tensors.values()].filter(({ name }) => !used.has(name))
  steps.push(...others.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((tensor) => copy(tensor)))
  const copied = steps.flatMap((step) => (step.kind === 'copy' ? [step.tensor] : []))
  return {
    shards: intoShards(steps, shardBytesMax),
    quantizationConfig: ignoreUnquantized(wanted.quantizationConfig, copied, config.layerCount),
  }
}

function copy(tensor: TensorInfo): ConversionStep {
  return { kind: 'copy', tensor }
}

type QuantizeStep = ConversionStep & { readonly kind: 'quantize' }

function planModule(
  module: string,
  wanted: ReadonlyMap<string, TensorInfo>,
  tensors: ReadonlyMap<string, TensorInfo>,
  mix: ConversionMix,
): QuantizeStep {
  const part = (suffix: string): TensorInfo => {
    const tensor = wanted.get(`${module}.${suffix}`)
    if (tensor === undefined) throw new RangeError(`The shape of a checkpoint lacks ${module}.${suffix}`)
    return tensor
  }
  const isExpert = /\.experts\.\d+\.\w+$/.test(module)
  const format: GroupFormat = { bits: isExpert && mix.experts === 'int4' ? 4 : 8, groupColumns: mix.group }
  const [packed, scale, shape] = [part('weight_packed'), part('weight_scale'), part('weight_shape')]
  const source = sourceOf(module, tensors)
  const { rowCount, columnCount } = source
  const expected = [rowCount, packedWords(columnCount, format), rowCount, groupCount(columnCount, format)]
  if ([...packed.shape, ...scale.shape].join() !== expected.join()) {
    throw new CheckpointError(
      source.tensor,
      `its shape does not fit config.json: [${rowCount}, ${columnCount}] a module`,
    )
  }
  return { kind: 'quantize', module, format, source, packed, scale, shape }
}

/** Finds the module's rows: in a tensor of its own, in its layer's fused experts, or in a fused gate and up. */
function sourceOf(module: string, tensors: ReadonlyMap<string, TensorInfo>): SourceRows {
  const own = tensors.get(`${module}.weight`)
  if (own !== undefined) return rowsOf(own, 0, 1)
  const [, prefix = '', name = ''] = /^(.+)\.(\w+)$/.exec(module) ?? []
  const [, experts, expert = '0'] = /^(.+\.experts)\.(\d+)$/.exec(prefix) ?? []
  const isHalf = name === 'gate_proj' || name === 'up_proj'
  const fusedName = `${experts ?? prefix}.${isHalf ? 'gate_up_proj' : name}${experts === undefined ? '.weight' : ''}`
  const fused = isHalf || experts !== undefined ? tensors.get(fusedName) : undefined
  if (fused === undefined) throw new CheckpointError(`${module}.weight`, 'the checkpoint has no such tensor')
  const count = (experts === undefined ? 1 : (fused.shape[0] ?? 0)) * (isHalf ? 2 : 1)
  return rowsOf(fused, isHalf ? 2 * Number(expert) + (name === 'up_proj' ? 1 : 0) : Number(expert), count)
}

/** Part `index` of `count` equal runs of rows. */
function rowsOf({ name, type, shape }: TensorInfo, index: number, count: number): SourceRows {
  if (type !== 'f32' && type !== 'f16' && type !== 'bf16') {
    throw new CheckpointError(name, `stored type ${type}: only f32, f16 and bf16 weights can be converted`)
  }
  const rowCount = shape.slice(0, -1).reduce((product, size) => product * size, 1) / count
  if (!Number.isInteger(rowCount) || shape.length < 2 || index >= count) {
    throw new CheckpointError(name, `its shape [${shape.join(', ')}] does not fit config.json`)
  }
  return { tensor: name, type, rowStart: index * rowCount, rowCount, columnCount: shape.at(-1) ?? 0 }
}

/** In order, as many as fit; a tensor larger than a shard has one of its own. */
function intoShards(steps: readonly ConversionStep[], shardBytesMax: number): ShardPlan[] {
  const groups: ConversionStep[][] = []
  let lastBytes = Infinity
  for (const step of steps) {
    const bytes = dataBytes(step)
    if (lastBytes + bytes > shardBytesMax) {
      groups.push([])
      lastBytes = 0
    }
    groups.at(-1)?.push(step)
    lastBytes += bytes
  }
  return groups.map((group, i) => ({
    file: shardFile(i, groups.length),
    steps: group,
    sourceBytes: group.reduce((sum, step) => sum + sourceBytes(step), 0),
    dataBytes: group.reduce((sum, step) => sum + dataBytes(step), 0),
  }))
}

function shardFile(index: number, count: number): string {
  const [number, of] = [index + 1, count].map((value) => String(value).padStart(5, '0'))
  return count === 1 ? 'model.safetensors' : `model-${number}-of-${of}.safetensors`
}

export function outputTensors(step: ConversionStep): readonly TensorInfo[] {
  return step.kind === 'copy' ? [step.tensor] : [step.packed, step.scale, step.shape]
}

function dataBytes(step: ConversionStep): number {
  return outputTensors(step).reduce((sum, { byteLength }) => sum + byteLength, 0)
}

function sourceBytes(step: ConversionStep): number {
  if (step.kind === 'copy') return step.tensor.byteLength
  const { rowCount, columnCount, type } = step.source
  return rowCount * columnCount * bytesPerValue(type)
}
