/**
 * One expert layer through the real Runner, from residual stream to residual stream, beside its f64 reference.
 *
 * The cache is filled by prefilling a few blocks. A far position's block table then names those blocks again and again in
 * a hashed order: what lies 100,000 tokens back is real addressing, real merging of splits and real angles over few
 * distinct entries. Prints nothing; who calls it judges.
 */
import { strict as assert } from 'node:assert'
import type { BlockId, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import type { LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import { hashedWord, rowSeed, seedOf } from './counter-hash.ts'
import { hashedInput, hashedWeights, loadHashedModel } from './hashed-model.ts'
import { LayerReference, type CacheEntry, type LayerResult, type LayerToken } from './layer-reference.ts'

export interface LayerCase {
  readonly config: ModelConfig
  readonly mix: CheckpointMix
  /** An expert layer, not the last. */
  readonly layer: number
  /** Positions 0 … are prefilled: whole blocks, then the start of the far tokens' own block. */
  readonly prefillTokens: number
  /** Blocks before the far tokens' own. */
  readonly farBlocks: number
  /** Compares with a reference that has one scale doubled: it must not agree. */
  readonly isControl: boolean
}

export interface TokenComparison {
  readonly position: number
  /** Σ(a − b)² / Σb² of the residual stream behind the layer; Infinity where it is not a number. */
  readonly nmse: number
  /** The same of what the layer added to it. */
  readonly addedNmse: number
  readonly areExpertsEqual: boolean
  /** By how much the reference's nearest choice among experts was won. */
  readonly margin: number
}

export interface LayerRun {
  readonly tokens: readonly TokenComparison[]
  readonly loaded: LoadedRunner
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
/** Times the pool's blocks, this bounds a step's block table. */
const SEQUENCES_MAX = 8

/** The step's two kinds of place: what stands at the beginning, and what stands far behind it. */
interface Stretch {
  readonly start: number
  /** f32 [hidden] each */
  readonly inputs: readonly Float32Array[]
  readonly blocks: readonly number[]
}

export async function runLayer(layerCase: LayerCase): Promise<LayerRun> {
  const { config, mix, layer, prefillTokens, farBlocks } = layerCase
  const [near, far] = stretches(layerCase)
  const startedMs = performance.now()
  const loaded = await loadHashedModel(config, mix, {
    layers: { start: layer, end: layer + 1 },
    sequencesMax: SEQUENCES_MAX,
    rowsMax: prefillTokens,
    blockCount: Math.ceil((farBlocks + 1) / SEQUENCES_MAX),
    deadlineMs: DEADLINE_MS,
  })
  const load = secondsSince(startedMs)
  const { runner } = loaded
  try {
    const nearStep = await step(runner, config, near)
    const farStep = await step(runner, config, far)
    const last = { ...near, start: prefillTokens - 1, inputs: near.inputs.slice(-1) }
    let lastSeconds = Infinity
    for (let i = 0; i < TIMED_STEPS; i++) {
      lastSeconds = Math.min(lastSeconds, (await step(runner, config, last)).seconds)
    }
    const referenceMs = performance.now()
    const tokens = compare(layerCase, [
      { stretch: near, step: nearStep },
      { stretch: far, step: farStep },
    ])
    const reference = secondsSince(referenceMs)
    const seconds = { load, prefill: nearStep.seconds, nearStep: lastSeconds, farStep: farStep.seconds, reference }
    return { tokens, loaded, seconds }
  } finally {
    await runner.close()
  }
}

function stretches({ config, prefillTokens, farBlocks }: LayerCase): [near: Stretch, far: Stretch] {
  const inputs = Array.from({ length: prefillTokens + COMPARED_TOKENS }, (_, t) => hashedInput(t, config.hiddenSize))
  const wholeBlocks = Math.floor(prefillTokens / BLOCK_TOKENS)
  const seed = rowSeed(seedOf('table'), 0)
  const table = Array.from({ length: farBlocks }, (_, i) => hashedWord(seed, i) % wholeBlocks)
  const farStart = farBlocks * BLOCK_TOKENS + (prefillTokens % BLOCK_TOKENS)
  return [
    {
      start: 0,
      inputs: inputs.slice(0, prefillTokens),
      blocks: Array.from({ length: wholeBlocks + 1 }, (_, i) => i),
    },
    { start: farStart, inputs: inputs.slice(prefillTokens), blocks: [...table, wholeBlocks] },
  ]
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
  { start, inputs, blocks }: Stretch,
): Promise<Step> {
  const stream = new Float32Array(inputs.length * hiddenSize)
  inputs.forEach((input, i) => stream.set(input, i * hiddenSize))
  // Ids below the pool's size: the Runner checks.
  const sequence: SequenceRows = {
    tokenIds: inputs.map(() => 0),
    start,
    blocks: blocks.map((block) => block as BlockId),
    sampler: null,
  }
  const batch = { sequences: [sequence], capture: { logits: 'none', experts: true } } as const
  const startedMs = performance.now()
  const { hidden, experts } = await runner.run(batch, stream)
  assert(hidden !== undefined && experts !== undefined)
  return { hidden, experts, seconds: secondsSince(startedMs) }
}

/** The first tokens of both stretches, the far ones seeing what the near ones left in the cache. */
function compare(
  { config, mix, layer, isControl }: LayerCase,
  [near, far]: readonly [RunStretch, RunStretch],
): TokenComparison[] {
  const falseScale = { module: `model.layers.${layer}.self_attn.o_proj`, row: 0, group: 0 }
  const reference = new LayerReference(config, hashedWeights(mix, isControl ? falseScale : null), layer)
  const entriesOf = ({ start, inputs }: Stretch): CacheEntry[] =>
    reference.cacheEntries(inputs.map((x, i) => ({ x: Float64Array.from(x), position: start + i })))
  const nearEntries = entriesOf(near.stretch)
  const farEntries = entriesOf(far.stretch)
  const ownBlock = far.stretch.blocks.at(-1) ?? 0
  const farContext = [
    ...countBlocks(far.stretch.blocks.slice(0, -1), nearEntries),
    ...once(nearEntries.slice(ownBlock * BLOCK_TOKENS)),
  ]
  const compared = [
    ...comparedRows(near, (row) => once(nearEntries.slice(0, row + 1))),
    ...comparedRows(far, (row) => [...farContext, ...once(farEntries.slice(0, row + 1))]),
  ]
  const expected = reference.run(compared.map(({ token }) => token))
  return compared.map((got, i) => comparison(got, expected[i]))
}

interface RunStretch {
  readonly stretch: Stretch
  readonly step: Step
}

interface ComparedRow {
  readonly token: LayerToken
  readonly y: Float64Array
  readonly experts: readonly number[]
}

function comparedRows(
  { stretch, step: { hidden, experts } }: RunStretch,
  contextOf: (row: number) => LayerToken['context'],
): ComparedRow[] {
  const { start, inputs } = stretch
  return inputs.slice(0, COMPARED_TOKENS).map((x, row) => {
    const perToken = experts.length / inputs.length
    return {
      token: { x: Float64Array.from(x), position: start + row, context: contextOf(row) },
      y: Float64Array.from(hidden.subarray(row * x.length, (row + 1) * x.length)),
      experts: [...experts.subarray(row * perToken, (row + 1) * perToken)],
    }
  })
}

function once(entries: readonly CacheEntry[]): LayerToken['context'] {
  return entries.map((entry) => ({ entry, count: 1 }))
}

/** How many positions of a table see each entry of the blocks it names. */
function countBlocks(table: readonly number[], entries: readonly CacheEntry[]): LayerToken['context'] {
  const counts = new Map<number, number>()
  for (const block of table) counts.set(block, (counts.get(block) ?? 0) + 1)
  return [...counts].flatMap(([block, count]) =>
    entries.slice(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS).map((entry) => ({ entry, count })),
  )
}

function comparison({ token, y, experts }: ComparedRow, expected: LayerResult | undefined): TokenComparison {
  assert(expected !== undefined)
  const added = (values: Float64Array): Float64Array => values.map((value, i) => value - (token.x[i] ?? NaN))
  return {
    position: token.position,
    nmse: nmse(y, expected.y),
    addedNmse: nmse(added(y), added(expected.y)),
    areExpertsEqual: expected.experts.join() === experts.join(),
    margin: expected.margin,
  }
}

function nmse(got: Float64Array, expected: Float64Array): number {
  let error = 0
  let size = 0
  expected.forEach((value, i) => {
    error += ((got[i] ?? NaN) - value) ** 2
    size += value ** 2
  })
  return Number.isNaN(error / size) ? Infinity : error / size
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000
}
