/**
 * What the roofline measures on each kind of adapter: large operands in every format, and the shapes of a real model.
 *
 * Goals are the issue's: of a CPU adapter against naive kernels, of a GPU against its roof.
 */
import { readFileSync } from 'node:fs'
import type { Processor } from '../../gpu-worker/gpu/program.ts'
import type { QuantizedFormat, WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { parseModelConfig, type ModelConfig } from '../../gpu-worker/model/config.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import type { ExpertsCase } from './experts.ts'
import type { ProductCase } from './products.ts'
import type { SamplerCase } from './sampler.ts'

export interface Cases {
  readonly streamBytes: number
  readonly products: readonly {
    readonly product: ProductCase
    /** Of the roof, %. */
    readonly shareMin?: number
    /** The naive kernel's time over ours. */
    readonly ratioMin?: number
  }[]
  readonly experts: readonly ExpertsCase[]
  readonly attention: readonly {
    readonly name: string
    readonly config: ModelConfig
    readonly keys: number
    readonly rows: number
  }[]
  readonly samplers: readonly SamplerCase[]
}

const int4: QuantizedFormat = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }
const int8: QuantizedFormat = { ...int4, kind: 'int8' }
const fp8: QuantizedFormat = { ...int4, kind: 'fp8', groupColumns: 128, scale: 'f32' }

export function casesFor(processor: Processor): Cases {
  return processor === 'cpu' ? cpuCases() : gpuCases()
}

/** 32 MiB of weights or more: no cache of this kind of machine holds them for one core. Then axk1-tiny's own shapes. */
function cpuCases(): Cases {
  const columnCount = 4096
  const large: readonly (readonly [format: WeightFormat, rowCount: number])[] = [
    ['bf16', 4096],
    ['f32', 2048],
    ['f16', 4096],
    [int8, 8192],
    [int4, 16384],
    [fp8, 8192],
  ]
  const tiny = parseModelConfig(
    JSON.parse(readFileSync(new URL('../../models/axk1-tiny/config.json', import.meta.url), 'utf8')),
  )
  const { hiddenSize, moeIntermediateSize: width, routedExpertCount: expertCount, expertsPerToken: top } = tiny
  const shapes = [
    [1024, hiddenSize],
    [hiddenSize, 512],
    [192, 64],
  ] as const
  return {
    streamBytes: 1 << 27,
    products: [
      ...large.map(([format, rowCount]) => {
        const product: ProductCase = { format, rowCount, columnCount, rows: 1 }
        return format === 'bf16' ? { product: { ...product, naive: 'gemv' as const }, ratioMin: 2 } : { product }
      }),
      ...large.map(([format, rowCount]) => {
        const product: ProductCase = { format, rowCount, columnCount, rows: 32, naive: 'gemm' }
        return format === 'bf16' || format === 'f32' ? { product, ratioMin: 1.8 } : { product }
      }),
      ...shapes.flatMap(([rowCount, own]) =>
        [1, 8, 32].map((rows) => ({ product: { format: 'bf16' as const, rowCount, columnCount: own, rows } })),
      ),
    ],
    experts: [1, 8, 32].map((rows) => ({ format: 'bf16', expertCount, top, hiddenSize, width, rows })),
    attention: [1, 8, 32].map((rows) => ({
      name: `attention of axk1-tiny, ${rows} × 224 keys`,
      config: tiny,
      keys: 224,
      rows,
    })),
    samplers: [
      { vocab: 1024, rows: 32, temperature: 0, topP: 1 },
      { vocab: 1024, rows: 32, temperature: 0.6, topP: 0.95 },
    ],
  }
}

/** Of one layer's product, each in a dispatch of its own: together more than a GPU's caches hold. */
const LAYERS = 16

/** Rows and columns of an expert layer's products that every row needs: first, query, output; shared expert. */
function ofLayer(config: ModelConfig): readonly (readonly [rowCount: number, columnCount: number])[] {
  const { hiddenSize, moeIntermediateSize: width, headCount } = config
  const { qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config
  const rank = qLoraRank ?? 0
  return [
    [rank + kvLoraRank + qkRopeHeadDim, hiddenSize],
    [headCount * (qkNopeHeadDim + qkRopeHeadDim), rank],
    [hiddenSize, headCount * vHeadDim],
    [2 * width, hiddenSize],
    [hiddenSize, width],
  ]
}

/** A.X K1's matrices, repeated until no cache holds them. */
function gpuCases(): Cases {
  const k1 = preset('axk1')
  const columnCount = k1.hiddenSize
  const large: readonly (readonly [format: WeightFormat, rowCount: number])[] = [
    ['bf16', 24_576],
    [int8, 49_152],
    [int4, 81_920],
    [fp8, 49_152],
  ]
  const { hiddenSize, moeIntermediateSize: width, expertsPerToken: top } = k1
  return {
    streamBytes: 1 << 30,
    products: [
      ...large.map(([format, rowCount]) => ({
        product: { format, rowCount, columnCount, rows: 1 },
        shareMin: 70,
      })),
      ...large.map(([format]) => ({ product: { format, rowCount: 8192, columnCount, rows: 256 }, shareMin: 40 })),
      ...ofLayer(k1).flatMap(([rowCount, own]) =>
        [1, 8].map((rows) => ({ product: { format: int8, rowCount, columnCount: own, rows, layers: LAYERS } })),
      ),
    ],
    experts: [1, 8, 32].map((rows) => ({ format: int4, expertCount: 32, top, hiddenSize, width, rows })),
    attention: [1, 16].map((rows) => ({
      name: `attention of A.X K1, ${rows} × 4096 keys`,
      config: k1,
      keys: 4096,
      rows,
    })),
    samplers: [{ vocab: 163_840, rows: 32, temperature: 0.6, topP: 0.95 }],
  }
}
