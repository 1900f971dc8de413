/**
 * What serving takes of a GPU's memory, to the byte, before anything is allocated: loading rehearsed on counted memory.
 *
 * Pure: sees a layout and limits, no file and no device. WebGPU cannot say what is free; `memory-fit.ts` compares with
 * the budget that an operator gave.
 */
import type { RunnerLimits } from '../engine/runner.ts'
import { waitingBytes } from '../experts/expert-cache.ts'
import type { Storage } from '../gpu/buffers.ts'
import { CountedMemory } from '../gpu/counted-memory.ts'
import { parameterBytes, type RowDispatch } from '../gpu/recipe.ts'
import { RING_BYTES } from '../gpu/upload.ts'
import { blockBytes, type LatentPages } from '../kernels/latent-pages.ts'
import { ROWS_TOGETHER } from '../kernels/matmul-rows.ts'
import { BLOCK_TOKENS } from '../kernels/step-input.ts'
import type { ModelConfig } from './config.ts'
import type { ExpertSlots } from './expert-slots.ts'
import { layoutBytes, type BytesByKind } from './layout-sizes.ts'
import type { LayerRange, ModelLayout } from './layout.ts'
import { modelDispatches, type ModelParts } from './model-recipe.ts'
import { pageFormat, type Profile } from './profile.ts'
import { attentionShape, layOutScratch, readbackBytes, type Scratch } from './scratch.ts'
import { chosenBytes } from './stopping-steps.ts'
import { allocateWeights } from './weights.ts'

/** What of an adapter decides how memory is laid out. */
export interface DeviceMemory {
  /** Largest storage binding. */
  readonly bindingBytesMax: number
  /** Where a uniform binding may begin. */
  readonly uniformAlignmentBytes: number
}

export interface ServedLayers {
  readonly config: ModelConfig
  readonly layout: ModelLayout
  readonly profile: Profile
  readonly device: DeviceMemory
  /** Null where absent. */
  readonly expertSlots?: ExpertSlots
}

/** What the sizes of activations and cache depend on. */
export type StepLimits = Pick<RunnerLimits, 'rowsMax' | 'sequencesMax' | 'blockCount' | 'contextTokensMax'>

export interface MemoryAccount {
  readonly weights: BytesByKind
  readonly weightBytes: number
  readonly cache: {
    readonly bytes: number
    readonly blockCount: number
    /** Tokens of all sequences together. */
    readonly tokens: number
    /** In all layers. */
    readonly bytesPerToken: number
    /** Tokens that one binding holds in one layer: the pool cannot have more. */
    readonly tokensBindable: number
  }
  /** Of a step: its input, everything between layers, logits; the shaders' parameters. */
  readonly activationBytes: number
  /** What results come back through. */
  readonly readbackBytes: number
  /** All of the above: what stays allocated. */
  readonly servingBytes: number
  /** On top, at most, while weights are loaded. */
  readonly uploadBytes: number
  /** Of the host: experts that take turns. */
  readonly hostBytes: number
}

/** Throws GpuError 'limit' for what no binding holds. */
export function memoryOf(
  { config, layout, profile, device, expertSlots }: ServedLayers,
  limits: StepLimits,
): MemoryAccount {
  const { bindingBytesMax, uniformAlignmentBytes } = device
  const { range } = layout
  const counted = (): CountedMemory => new CountedMemory(bindingBytesMax)
  const [weightMemory, cacheMemory, scratchMemory] = [counted(), counted(), counted()]
  const { weights, takingTurns } = allocateWeights(config, layout, weightMemory, expertSlots)
  const parts = {
    config,
    range,
    weights,
    ...layOutStep({ config, range, profile }, limits, cacheMemory, scratchMemory),
  }
  const { layers, output } = modelDispatches(parts)
  const recipes: readonly RowDispatch<string>[][] = [
    layers,
    ...(output === null ? [] : [output.logits, output.sampler]),
  ]
  const parameters = recipes.map((dispatches) => parameterBytes(dispatches, uniformAlignmentBytes))
  const activationBytes = scratchMemory.bytes + sum(parameters)
  const staging = readbackBytes(parts.scratch) + (takingTurns.length === 0 ? 0 : chosenBytes(parts.scratch))
  const bytesPerBlock = blockBytes(attentionShape(config), pageFormat(profile))
  return {
    weights: layoutBytes(layout, expertSlots),
    weightBytes: weightMemory.bytes,
    cache: {
      bytes: cacheMemory.bytes,
      blockCount: limits.blockCount,
      tokens: limits.blockCount * BLOCK_TOKENS,
      bytesPerToken: cacheBytesPerToken(config, profile, range),
      tokensBindable: Math.floor(bindingBytesMax / bytesPerBlock) * BLOCK_TOKENS,
    },
    activationBytes,
    readbackBytes: staging,
    servingBytes: weightMemory.bytes + cacheMemory.bytes + activationBytes + staging,
    uploadBytes: RING_BYTES,
    hostBytes: sum(takingTurns.map(({ turns }) => waitingBytes(turns))),
  }
}

/** What of the layers in `range` a token's KV takes. A.X K1 whole: 140,544 in `exact`, 70,272 in `kv16`. */
export function cacheBytesPerToken(config: ModelConfig, profile: Profile, { start, end }: LayerRange): number {
  return ((end - start) * blockBytes(attentionShape(config), pageFormat(profile))) / BLOCK_TOKENS
}

/** Activations and what they come back through, without the shaders' parameters: a few hundred bytes a dispatch. */
export function stepBytes(config: ModelConfig, range: LayerRange, limits: StepLimits): number {
  const memory = new CountedMemory(Infinity)
  const scratch = layOutScratch(config, range, memory, scratchSize(limits))
  return memory.bytes + readbackBytes(scratch)
}

export type StepParts = Pick<ModelParts, 'pages' | 'scratch' | 'rowsMax' | 'pickedMax'>

/** Cache and activations, on memory real or counted. */
export function layOutStep(
  { config, range, profile }: { readonly config: ModelConfig; readonly range: LayerRange; readonly profile: Profile },
  limits: StepLimits,
  cache: Storage,
  activations: Storage,
): StepParts {
  const shape = attentionShape(config)
  const format = pageFormat(profile)
  const { blockCount } = limits
  const pages: LatentPages[] = []
  for (let layer = range.start; layer < range.end; layer++) {
    const slice = cache.storage(`layer-${layer}`, blockCount * blockBytes(shape, format))
    pages.push({ slice, shape, blockCount, format })
  }
  const size = scratchSize(limits)
  const scratch: Scratch = layOutScratch(config, range, activations, size)
  return { pages, scratch, rowsMax: size.rowsMax, pickedMax: size.pickedMax }
}

function scratchSize({ rowsMax, sequencesMax, blockCount, contextTokensMax }: StepLimits) {
  return {
    rowsMax,
    pickedMax: Math.ceil(sequencesMax / ROWS_TOGETHER) * ROWS_TOGETHER,
    tableEntriesMax: sequencesMax * Math.min(blockCount, Math.ceil(contextTokensMax / BLOCK_TOKENS)),
    contextTokensMax: Math.min(contextTokensMax, blockCount * BLOCK_TOKENS),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
