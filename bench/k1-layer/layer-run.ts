/**
 * One expert layer through the real Runner, from residual stream to residual stream, beside its f64 reference.
 *
 * The cache is filled by prefilling a few blocks. A far position's block table then names those blocks again and again in
 * a hashed order: what lies 100,000 tokens back is real addressing, real merging of splits and real angles over few
 * distinct entries. Prints nothing; who calls it judges.
 */
import { strict as assert } from 'node:assert'
import type { BlockId, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { Checkpoint } from '../../gpu-worker/model/checkpoint.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner, type LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import { hashedWord, rowSeed, seedOf } from './counter-hash.ts'
import { HashedRows } from './hashed-rows.ts'
import { HashedWeights, type Flip, type Storage } from './hashed-weights.ts'
import { LayerReference, type CacheEntry, type LayerResult, type LayerToken } from './layer-reference.ts'

export interface LayerCase {
  readonly config: ModelConfig
  readonly mix: CheckpointMix
  /** An expert layer. */
  readonly layer: number
  /** Positions 0 … are prefilled: whole blocks, then the start of the far tokens' own block. */
  readonly prefillTokens: number
  /** Blocks before the far tokens' own. */
  readonly farBlocks: number
  /** Weights are compared with this one falsified. */
  readonly isControl: boolean
}

export interface TokenComparison {
  readonly position: number
  /** Σ(a − b)² / Σb² of the residual stream behind the layer. */
  readonly nmse: number
  /** The same of what the layer added to it. */
  readonly addedNmse: number
  readonly experts: readonly number[]
  readonly areExpertsEqual: boolean
  /** By how much the reference's nearest choice was won. */
  readonly margin: number
}

export interface LayerRun {
  readonly tokens: readonly TokenComparison[]
  readonly loaded: Pick<LoadedRunner, 'adapter' | 'weightBytes' | 'kvBytes'>
  readonly seconds: {
    readonly load: number
    readonly prefill: number
    /** A step of one token with few behind it, the best of a few. */
    readonly nearStep: number
    /** A step of two tokens with `farBlocks` behind them. */
    readonly farStep: number
    readonly reference: number
  }
}

const COMPARED_TOKENS = 2
const TIMED_STEPS = 3
const BLOCK_TOKENS = 32
/** A prefill on a software adapter takes a minute. */
const DEADLINE_MS = 280_000
/** Their product bounds a step's block table. */
const SEQUENCES_MAX = 8

export async function runLayer(layerCase: LayerCase): Promise<LayerRun> {
  const { config, layer, prefillTokens, farBlocks } = layerCase
  const startedMs = performance.now()
  const loaded = await loadLayer(layerCase)
  const loadSeconds = secondsSince(startedMs)
  const { runner } = loaded
  try {
    const wholeBlocks = Math.floor(prefillTokens / BLOCK_TOKENS)
    const farStart = farBlocks * BLOCK_TOKENS + (prefillTokens % BLOCK_TOKENS)
    const inputs = Array.from({ length: prefillTokens + COMPARED_TOKENS }, (_, t) => hashedInput(t, config.hiddenSize))
    const near = inputs.slice(0, prefillTokens)
    const far = inputs.slice(prefillTokens)
    const nearBlocks = Array.from({ length: wholeBlocks + 1 }, (_, i) => blockId(i))
    const farTable = Array.from(
      { length: farBlocks },
      (_, i) => hashedWord(rowSeed(seedOf('table'), 0), i) % wholeBlocks,
    )
    const farSequence = { start: farStart, blocks: [...farTable.map(blockId), blockId(wholeBlocks)] }

    const prefill = await step(runner, config, { start: 0, blocks: nearBlocks }, near)
    const farStep = await step(runner, config, farSequence, far)
    let nearSeconds = Infinity
    for (let i = 0; i < TIMED_STEPS; i++) {
      const last = { start: prefillTokens - 1, blocks: nearBlocks }
      nearSeconds = Math.min(nearSeconds, (await step(runner, config, last, near.slice(-1))).seconds)
    }

    const referenceMs = performance.now()
    const reference = new LayerReference(config, hashedWeights(layerCase, farStep.experts[0] ?? 0), layer)
    const nearEntries = reference.cacheEntries(near.map((x, position) => ({ x: Float64Array.from(x), position })))
    const farEntries = reference.cacheEntries(far.map((x, i) => ({ x: Float64Array.from(x), position: farStart + i })))
    const farCounts = countBlocks(farTable, nearEntries)
    const tokens: LayerToken[] = [
      ...near.slice(0, COMPARED_TOKENS).map((x, position) => ({
        x: Float64Array.from(x),
        position,
        context: once(nearEntries.slice(0, position + 1)),
      })),
      ...far.map((x, i) => ({
        x: Float64Array.from(x),
        position: farStart + i,
        context: [
          ...farCounts,
          ...once(nearEntries.slice(wholeBlocks * BLOCK_TOKENS)),
          ...once(farEntries.slice(0, i + 1)),
        ],
      })),
    ]
    const expected = reference.run(tokens)
    const referenceSeconds = secondsSince(referenceMs)

    const { hiddenSize, expertsPerToken } = config
    const got = tokens.map((_, i) => {
      const [result, row] = i < COMPARED_TOKENS ? [prefill, i] : [farStep, i - COMPARED_TOKENS]
      return {
        y: result.hidden.subarray(row * hiddenSize, (row + 1) * hiddenSize),
        experts: result.experts.slice(row * expertsPerToken, (row + 1) * expertsPerToken),
      }
    })
    return {
      tokens: tokens.map((token, i) => comparison(token, got[i], expected[i])),
      loaded,
      seconds: {
        load: loadSeconds,
        prefill: prefill.seconds,
        nearStep: nearSeconds,
        farStep: farStep.seconds,
        reference: referenceSeconds,
      },
    }
  } finally {
    await runner.close()
  }
}

function loadLayer({ config, mix, layer, prefillTokens, farBlocks }: LayerCase): Promise<LoadedRunner> {
  const { tensors, quantization } = checkpointShape(config, mix)
  const checkpoint: Checkpoint = {
    dir: 'counter hash',
    config,
    quantization,
    digest: 'counter hash',
    tensors,
    read: noBytes,
    readInto: noBytes,
    close: () => Promise.resolve(),
  }
  return loadRunner({
    checkpoint,
    layers: { start: layer, end: layer + 1 },
    rowSource: (gpu) => new HashedRows(gpu),
    sequencesMax: SEQUENCES_MAX,
    rowsMax: prefillTokens,
    blockCount: Math.ceil((farBlocks + 1) / SEQUENCES_MAX),
    deadlineMs: DEADLINE_MS,
  })
}

function noBytes(): Promise<never> {
  return Promise.reject(new Error('These weights are computed, not read'))
}

/** As `checkpointShape` stores them; the control doubles a scale of the expert that the first far token likes best. */
function hashedWeights({ mix, layer, isControl }: LayerCase, expert: number): HashedWeights {
  const storageOf = (module: string): Storage => {
    if (/norm$|\.mlp\.gate$/.test(module)) return { kind: 'bf16' }
    const kind = module.includes('.experts.') ? mix.experts : mix.rest
    if (kind === 'fp8') throw new RangeError('The reference has no fp8')
    return kind === 'bf16' ? { kind } : { kind, group: mix.group }
  }
  const flip: Flip = { module: `model.layers.${layer}.mlp.experts.${expert}.down_proj`, row: 0, group: 0 }
  return new HashedWeights(storageOf, isControl ? flip : null)
}

interface Step {
  /** f32 [rows, hidden] */
  readonly hidden: Float32Array
  /** [rows, experts a token] */
  readonly experts: Int32Array
  readonly seconds: number
}

async function step(
  runner: ModelRunner,
  { hiddenSize }: ModelConfig,
  { start, blocks }: Pick<SequenceRows, 'start' | 'blocks'>,
  inputs: readonly Float32Array[],
): Promise<Step> {
  const stream = new Float32Array(inputs.length * hiddenSize)
  inputs.forEach((input, i) => stream.set(input, i * hiddenSize))
  const sequence: SequenceRows = { tokenIds: inputs.map(() => 0), start, blocks, sampler: null }
  const startedMs = performance.now()
  const { hidden, experts } = await runner.run(
    { sequences: [sequence], capture: { logits: false, experts: true } },
    stream,
  )
  assert(hidden !== undefined && experts !== undefined)
  return { hidden, experts, seconds: secondsSince(startedMs) }
}

function once(entries: readonly CacheEntry[]): LayerToken['context'][number][] {
  return entries.map((entry) => ({ entry, count: 1 }))
}

/** How many positions of a table see each entry of the blocks it names. */
function countBlocks(table: readonly number[], entries: readonly CacheEntry[]): LayerToken['context'][number][] {
  const counts = new Map<number, number>()
  for (const block of table) counts.set(block, (counts.get(block) ?? 0) + 1)
  return [...counts].flatMap(([block, count]) =>
    entries.slice(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS).map((entry) => ({ entry, count })),
  )
}

function comparison(
  { x, position }: LayerToken,
  got: { readonly y: Float32Array; readonly experts: Int32Array } | undefined,
  expected: LayerResult | undefined,
): TokenComparison {
  assert(got !== undefined && expected !== undefined)
  const y = Float64Array.from(got.y)
  const added = (values: Float64Array): Float64Array => values.map((value, i) => value - (x[i] ?? NaN))
  return {
    position,
    nmse: nmse(y, expected.y),
    addedNmse: nmse(added(y), added(expected.y)),
    experts: expected.experts,
    areExpertsEqual: expected.experts.join() === got.experts.join(),
    margin: expected.margin,
  }
}

/** Infinity where something is not a number. */
function nmse(got: Float64Array, expected: Float64Array): number {
  let error = 0
  let size = 0
  expected.forEach((value, i) => {
    error += ((got[i] ?? NaN) - value) ** 2
    size += value ** 2
  })
  return Number.isNaN(error / size) ? Infinity : error / size
}

/** f32 [width], uniform in ±√3: variance 1. */
function hashedInput(token: number, width: number): Float32Array {
  const seed = rowSeed(seedOf('a residual stream'), token)
  return Float32Array.from({ length: width }, (_, i) => (hashedWord(seed, i) / 2 ** 31 - 1) * Math.sqrt(3))
}

function blockId(index: number): BlockId {
  return index as BlockId // Below the pool's size: the Runner checks.
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000
}
