/**
 * Whether a model with so many sequences of such a context fits on so many devices; and if not, what would.
 *
 * Two limits: the fullest device's memory, and the one binding that holds a layer's cache, whatever the memory. Knows
 * no rates.
 */
import type { LayerRange } from '../../gpu-worker/model/layout.ts'
import { cutLayers, rangeBytes, type Load } from './pipeline.ts'
import { stageWeightBytes, type ModelWeightsSize } from './stages.ts'

/** What is asked of the devices together. */
export interface Demand {
  readonly sequences: number
  readonly contextTokens: number
}

/** How a model's memory is counted: by its layout, its cache and the step's activations. */
export interface MemoryModel {
  readonly size: ModelWeightsSize
  readonly blockTokens: number
  /** Of one block in one layer. */
  readonly blockBytes: number
  readonly contextTokensMax: number
  /** Of one Runner. */
  activationBytes(demand: Demand): number
}

export interface StageMemory {
  readonly layers: LayerRange
  readonly weightBytes: number
  readonly cacheBytes: number
  readonly activationBytes: number
  readonly bytes: number
  /** Of the host. */
  readonly waitingBytes: number
}

/** KV blocks that hold every sequence at its full context. */
export function blocksOf({ blockTokens }: MemoryModel, { sequences, contextTokens }: Demand): number {
  return sequences * Math.ceil(contextTokens / blockTokens)
}

export function stageMemories(memory: MemoryModel, demand: Demand, count: number): StageMemory[] {
  const { size } = memory
  const layerCacheBytes = blocksOf(memory, demand) * memory.blockBytes
  const activationBytes = memory.activationBytes(demand)
  const load: Load = {
    layers: size.layers.map(({ bytes }) => bytes + layerCacheBytes),
    first: size.embeddingBytes,
    // Tied weights are stored twice when first and last layer are on different devices.
    last: size.isTied && count === 1 ? 0 : size.headBytes,
    each: activationBytes,
  }
  return cutLayers(load, count).map((layers) => ({
    layers,
    weightBytes: stageWeightBytes(size, layers),
    cacheBytes: (layers.end - layers.start) * layerCacheBytes,
    activationBytes,
    bytes: rangeBytes(load, layers),
    waitingBytes: size.layers.slice(layers.start, layers.end).reduce((sum, { waitingBytes }) => sum + waitingBytes, 0),
  }))
}

export function fullest(stages: readonly StageMemory[]): StageMemory {
  return stages.reduce((most, stage) => (stage.bytes > most.bytes ? stage : most))
}

export interface DeviceLimits {
  /** Null: unknown, and then no memory is too little. */
  readonly memoryBytes: number | null
  readonly bindingBytesMax: number
}

export interface Verdict {
  readonly fits: boolean
  /** Of the fullest device; negative when there is too little. Null when its memory is unknown. */
  readonly freeBytes: number | null
  /** Tokens that a layer's cache can hold at most, in one binding. */
  readonly cacheTokensMax: number
  readonly isCacheBindable: boolean
}

export function judge(memory: MemoryModel, demand: Demand, count: number, limits: DeviceLimits): Verdict {
  const { bytes } = fullest(stageMemories(memory, demand, count))
  const freeBytes = limits.memoryBytes === null ? null : limits.memoryBytes - bytes
  const blocksMax = blocksBindable(memory, limits)
  const isCacheBindable = blocksOf(memory, demand) <= blocksMax
  const fits = (freeBytes ?? 0) >= 0 && isCacheBindable
  return { fits, freeBytes, cacheTokensMax: blocksMax * memory.blockTokens, isCacheBindable }
}

export interface WouldFit {
  /** At the asked context; 0: not even one. */
  readonly sequences: number
  /** For the asked sequences; 0: not even one block. */
  readonly contextTokens: number
  /** The fewest devices for what is asked; null: no number of them. */
  readonly purchase: Purchase | null
}

/** Several sets, each with the whole model, where one binding cannot hold a layer's cache for all. */
export interface Purchase {
  readonly sets: number
  readonly sequencesEach: number
  readonly devicesEach: number
}

export function whatFits(memory: MemoryModel, demand: Demand, count: number, limits: DeviceLimits): WouldFit {
  const { blockTokens, contextTokensMax } = memory
  const fits = (asked: Demand): boolean => judge(memory, asked, count, limits).fits
  const blocks = largest(Math.ceil(contextTokensMax / blockTokens), (n) =>
    fits({ ...demand, contextTokens: n * blockTokens }),
  )
  return {
    sequences: mostSequences(memory, demand, count, limits),
    contextTokens: Math.min(blocks * blockTokens, contextTokensMax),
    purchase: fewest(memory, demand, limits),
  }
}

/** At the asked context. */
export function mostSequences(memory: MemoryModel, demand: Demand, count: number, limits: DeviceLimits): number {
  return largest(SEQUENCES_MAX, (sequences) => judge(memory, { ...demand, sequences }, count, limits).fits)
}

function fewest(memory: MemoryModel, demand: Demand, limits: DeviceLimits): Purchase | null {
  const bindable = Math.floor(blocksBindable(memory, limits) / blocksOf(memory, { ...demand, sequences: 1 }))
  if (bindable === 0) return null
  const sets = Math.ceil(demand.sequences / bindable)
  const each = { ...demand, sequences: Math.ceil(demand.sequences / sets) }
  const layerCount = memory.size.layers.length
  // More devices never need more memory each.
  const tooFew = largest(layerCount, (devices) => !judge(memory, each, devices, limits).fits)
  return tooFew === layerCount ? null : { sets, sequencesEach: each.sequences, devicesEach: tooFew + 1 }
}

function blocksBindable({ blockBytes }: MemoryModel, { bindingBytesMax }: DeviceLimits): number {
  return Math.floor(bindingBytesMax / blockBytes)
}

/** A worker's most slots. */
export const SEQUENCES_MAX = 4096

/** The largest n ≤ max that holds, if all below hold too; 0 if 1 does not. */
function largest(max: number, holds: (n: number) => boolean): number {
  let [low, high] = [0, max]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle - 1
  }
  return low
}
