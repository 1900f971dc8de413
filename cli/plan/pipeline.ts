/**
 * One model over several devices: contiguous layer ranges, one Runner each, and what a round through all of them takes.
 *
 * Knows bytes and seconds, not where they come from.
 */
import type { LayerRange } from '../../gpu-worker/model/layout.ts'

export interface Load {
  /** By layer: weights and cache. */
  readonly layers: readonly number[]
  /** On the first device: the embedding. */
  readonly first: number
  /** On the last: final norm and head. */
  readonly last: number
  /** On every device: activations. */
  readonly each: number
}

/**
 * Cuts the layers into at most `count` ranges so that the fullest device holds as little as possible, and as evenly as
 * that allows. Fewer ranges when there are fewer layers.
 */
export function cutLayers(load: Load, count: number): LayerRange[] {
  const parts = Math.min(count, load.layers.length)
  // The answer is the load of some range; halve between what one layer needs and what everything does.
  let [low, high] = [0, rangeBytes(load, { start: 0, end: load.layers.length })]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (isEnough(load, 0, parts, middle)) high = middle
    else low = middle
  }
  return even(load, parts, high)
}

/** What the device with these layers holds. */
export function rangeBytes({ layers, first, last, each }: Load, { start, end }: LayerRange): number {
  const own = layers.slice(start, end).reduce((sum, bytes) => sum + bytes, 0)
  return own + each + (start === 0 ? first : 0) + (end === layers.length ? last : 0)
}

/** Whether layers from `start` on go into `parts` ranges of at most `bytesMax`, none empty. */
function isEnough(load: Load, start: number, parts: number, bytesMax: number): boolean {
  const layerCount = load.layers.length
  let next = start
  for (let left = parts - 1; left >= 0; left--) {
    let end = next + 1
    while (end < layerCount - left && rangeBytes(load, { start: next, end: end + 1 }) <= bytesMax) end += 1
    if (rangeBytes(load, { start: next, end }) > bytesMax) return false
    next = end
  }
  return next === layerCount
}

/** Ranges of at most `bytesMax`: each its share of the layers left, or as many more as the others cannot take. */
function even(load: Load, parts: number, bytesMax: number): LayerRange[] {
  const layerCount = load.layers.length
  const ranges: LayerRange[] = []
  let start = 0
  for (let left = parts - 1; left > 0; left--) {
    const share = start + Math.ceil((layerCount - start) / (left + 1))
    let end = start + 1
    while (end < share && rangeBytes(load, { start, end: end + 1 }) <= bytesMax) end += 1
    while (!isEnough(load, end, left, bytesMax)) end += 1
    ranges.push({ start, end })
    start = end
  }
  return [...ranges, { start, end: layerCount }]
}

/**
 * How a batch goes through the stages: as equal micro-batches, as many as there are stages or sequences, so that every
 * device works. A round gives each sequence one token.
 */
export interface Round {
  readonly microBatches: number
  /** Sequences of the largest micro-batch. */
  readonly sequencesEach: number
}

export function roundOf(sequences: number, stageCount: number): Round {
  const sequencesEach = Math.ceil(sequences / Math.min(sequences, stageCount))
  return { microBatches: Math.ceil(sequences / sequencesEach), sequencesEach }
}

/**
 * A micro-batch comes round again when it has passed every stage and every other micro-batch has passed the slowest:
 * max(Σ stages, micro-batches · slowest stage). `stageSeconds` are for one micro-batch, its hop to the next included.
 */
export function roundSeconds(stageSeconds: readonly number[], { microBatches }: Round): number {
  const sum = stageSeconds.reduce((total, seconds) => total + seconds, 0)
  return Math.max(sum, microBatches * Math.max(...stageSeconds))
}

/**
 * When the last of several chunks has passed every stage; each stage takes them in order, one at a time.
 * `chunks`: seconds [chunks, stages].
 */
export function streamSeconds(chunks: readonly (readonly number[])[]): number {
  const freeAt: number[] = []
  for (const stages of chunks) {
    let arrives = 0
    for (const [stage, seconds] of stages.entries()) {
      arrives = Math.max(arrives, freeAt[stage] ?? 0) + seconds
      freeAt[stage] = arrives
    }
  }
  return freeAt.at(-1) ?? 0
}
