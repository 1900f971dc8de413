/**
 * An expert layer of A.X K1 with slots for half of its experts, beside the same layer with all of them resident.
 *
 * Streams of drawn tokens pass through the real layer, from residual stream to residual stream: its router chooses, the
 * results of both are compared bit for bit. Then the routes that were taken are replayed. Decodes alone: a prompt of some
 * length needs all experts whatever the cache. It judges identity, nothing else.
 */
import { strict as assert } from 'node:assert'
import type { BlockId, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadHashedModel } from '../k1-layer/hashed-model.ts'
import type { Figure } from '../report.ts'
import { drawStreams, type StreamKind, type StreamToken } from '../residency/drawn-streams.ts'
import { hitRate, type Trace } from '../residency/replay.ts'

/**
 * Of a token's experts the one before in its stream had 5, 11 and 17 %: drawn evenly, and as published for real models at
 * the lower end and in the middle. Groups of experts make more of what tokens share than a plain router would.
 */
const KINDS: readonly StreamKind[] = [
  { name: 'evenly drawn', popular: 0, topic: 0, request: 0 },
  { name: 'weakly alike', popular: 0.025, topic: 0.03, request: 0.03 },
  { name: 'alike', popular: 0.05, topic: 0.065, request: 0.065 },
]
const MIX: CheckpointMix = { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' }
const DEADLINE_MS = 280_000
const BLOCK_TOKENS = 32
/** Of the longest request that is drawn. */
const BLOCKS_EACH = 8

export interface ResidencySizes {
  readonly kinds: readonly StreamKind[]
  readonly batches: readonly { readonly streamCount: number; readonly stepCount: number }[]
}

const GPU_SIZES: ResidencySizes = {
  kinds: KINDS,
  batches: [
    { streamCount: 1, stepCount: 240 },
    { streamCount: 8, stepCount: 80 },
    { streamCount: 32, stepCount: 32 },
  ],
}
const CPU_SIZES: ResidencySizes = { kinds: KINDS.slice(-1), batches: [{ streamCount: 2, stepCount: 6 }] }

export function residencySizes(processor: 'cpu' | 'gpu'): ResidencySizes {
  return processor === 'gpu' ? GPU_SIZES : CPU_SIZES
}

/** `config`: a whole model's; one of its expert layers is loaded, twice. */
export async function residencyFigures(config: ModelConfig, sizes: ResidencySizes): Promise<Figure[]> {
  const slotCount = Math.ceil(config.routedExpertCount / 2)
  const all = await load(config, sizes, null)
  try {
    const half = await load(config, sizes, slotCount)
    try {
      const figures: Figure[] = [
        { name: 'slots of a layer', value: slotCount, unit: `of ${config.routedExpertCount} experts` },
        { name: 'its experts in host memory', value: half.hostBytes / 1e9, unit: 'GB' },
      ]
      for (const kind of sizes.kinds) {
        for (const batch of sizes.batches) figures.push(...(await compare(config, slotCount, all, half, kind, batch)))
      }
      return figures
    } finally {
      await half.runner.close()
    }
  } finally {
    await all.runner.close()
  }
}

interface LoadedLayer {
  readonly runner: ModelRunner
  readonly hostBytes: number
}

async function load(config: ModelConfig, { batches }: ResidencySizes, slots: number | null): Promise<LoadedLayer> {
  const streamsMax = Math.max(...batches.map(({ streamCount }) => streamCount))
  // Neither the first layer nor the last.
  const layer = config.denseLayerCount
  const { runner, memory } = await loadHashedModel({ ...config, layerCount: layer + 2 }, MIX, {
    layers: { start: layer, end: layer + 1 },
    sequencesMax: streamsMax,
    rowsMax: streamsMax,
    blockCount: streamsMax * BLOCKS_EACH,
    deadlineMs: DEADLINE_MS,
    ...(slots === null ? {} : { expertSlots: slots }),
  })
  return { runner, hostBytes: memory.hostBytes }
}

async function compare(
  config: ModelConfig,
  slotCount: number,
  all: LoadedLayer,
  half: LoadedLayer,
  kind: StreamKind,
  { streamCount, stepCount }: ResidencySizes['batches'][number],
): Promise<Figure[]> {
  const steps = drawStreams(kind, streamCount, stepCount, config.hiddenSize)
  // Steps that fill the cache count for nobody.
  const countedFrom = Math.ceil(stepCount / 4)
  const trace: Trace = await routesOf(all.runner, steps)
  const whole = await timeSteps(all.runner, steps, countedFrom)
  const turns = await timeSteps(half.runner, steps, countedFrom)
  // Before and behind: what comes first in a run finds everything cold.
  const wholeMs = Math.min(whole.ms, (await timeSteps(all.runner, steps, countedFrom)).ms)
  const isSame = whole.hidden.every((row, i) => row === turns.hidden[i])
  const rate = (policy: 'ours' | 'lru' | 'belady'): number =>
    hitRate(trace, { expertCount: config.routedExpertCount, slotCount, countedFrom }, policy)
  const name = `${kind.name}, batch ${streamCount}`
  const misses = turns.needed - turns.held
  return [
    { name: `${name}: experts a step`, value: meanSize(trace), unit: `of ${config.routedExpertCount}` },
    { name: `${name}: also needed by the step before`, value: inCommon(trace), unit: '%' },
    { name: `${name}: held when needed`, value: (100 * turns.held) / turns.needed, unit: '%' },
    { name: `${name}: replayed, ours`, value: rate('ours'), unit: '%' },
    { name: `${name}: replayed, least recently used leaves`, value: rate('lru'), unit: '%' },
    { name: `${name}: replayed, Belady’s`, value: rate('belady'), unit: '%' },
    { name: `${name}: a step, all resident`, value: wholeMs, unit: 'ms' },
    { name: `${name}: a step`, value: turns.ms, unit: 'ms' },
    { name: `${name}: brought a step`, value: turns.bytesBrought / turns.steps / 1e6, unit: 'MB' },
    {
      name: `${name}: rate of bringing, by the time it costs`,
      value: misses === 0 ? NaN : turns.bytesBrought / (turns.steps * (turns.ms - wholeMs) * 1e6),
      unit: 'GB/s',
    },
    { name: `${name}: steps whose bits differ`, value: isSame ? 0 : 1, unit: '', goal: '0', holds: isSame },
  ]
}

/** Runs every step, and reads which experts it chose. */
async function routesOf(runner: ModelRunner, steps: readonly StreamToken[][]): Promise<Set<number>[]> {
  const trace: Set<number>[] = []
  for (const tokens of steps) {
    const { experts } = await runner.run(
      { ...batchOf(tokens), capture: { logits: 'none', experts: true } },
      hiddenOf(tokens),
    )
    assert(experts !== undefined, 'Experts were asked for')
    trace.push(new Set(experts))
  }
  return trace
}

interface TimedSteps {
  /** Mean of the steps counted. */
  readonly ms: number
  readonly steps: number
  readonly needed: number
  readonly held: number
  readonly bytesBrought: number
  /** A hash of the residual stream behind each step. */
  readonly hidden: readonly number[]
}

async function timeSteps(
  runner: ModelRunner,
  steps: readonly StreamToken[][],
  countedFrom: number,
): Promise<TimedSteps> {
  const hidden: number[] = []
  const none = { needed: 0, held: 0, bytesBrought: 0 }
  let before = runner.cacheFigures ?? none
  let ms = 0
  for (const [i, tokens] of steps.entries()) {
    if (i === countedFrom) before = runner.cacheFigures ?? none
    const [batch, input] = [batchOf(tokens), hiddenOf(tokens)]
    const startedMs = performance.now()
    const result = await runner.run(batch, input)
    if (i >= countedFrom) ms += performance.now() - startedMs
    hidden.push(hashOf(result.hidden ?? new Float32Array()))
  }
  const after = runner.cacheFigures ?? none
  const counted = steps.length - countedFrom
  return {
    ms: ms / counted,
    steps: counted,
    needed: after.needed - before.needed,
    held: after.held - before.held,
    bytesBrought: after.bytesBrought - before.bytesBrought,
    hidden,
  }
}

function batchOf(tokens: readonly StreamToken[]): { readonly sequences: readonly SequenceRows[] } {
  return {
    sequences: tokens.map(({ position }, stream) => ({
      tokenIds: [0],
      start: position,
      blocks: Array.from(
        { length: Math.floor(position / BLOCK_TOKENS) + 1 },
        (_, i) => (stream * BLOCKS_EACH + i) as BlockId, // of a pool that is ours alone
      ),
      sampler: null,
    })),
  }
}

function hiddenOf(tokens: readonly StreamToken[]): Float32Array {
  const width = tokens[0]?.x.length ?? 0
  const hidden = new Float32Array(tokens.length * width)
  for (const [i, { x }] of tokens.entries()) hidden.set(x, i * width)
  return hidden
}

/** FNV-1a over the words. */
function hashOf(values: Float32Array): number {
  let hash = 0x811c9dc5
  for (const word of new Uint32Array(values.buffer, values.byteOffset, values.length)) {
    hash = Math.imul(hash ^ word, 0x01000193)
  }
  return hash >>> 0
}

function meanSize(trace: Trace): number {
  return trace.reduce((sum, { size }) => sum + size, 0) / trace.length
}

/** Percent of a step's experts. */
function inCommon(trace: Trace): number {
  let [common, all] = [0, 0]
  for (const [i, experts] of trace.slice(1).entries()) {
    common += [...experts].filter((expert) => trace[i]?.has(expert) === true).length
    all += experts.size
  }
  return (100 * common) / all
}
