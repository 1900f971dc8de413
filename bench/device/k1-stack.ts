/**
 * `bench k1-stack`: decode steps of a stack of A.X K1's layers, as many as the GPU holds, against what they must read.
 *
 * The model is A.X K1 with fewer layers, whole: embedding, a dense layer, expert layers, head. Weights come from a counter
 * hash; steps go through the engine. `AXLE_BENCH_GB` is how much memory may be used (WebGPU does not tell). A second,
 * shallower stack gives the time of a layer, and with it that of all 61. On a CPU adapter: few experts, two layers.
 *
 * Two roofs: what a step must read at the best stream, and what it must compute at the best fma chains; many rows of few
 * experts have more to compute than to read. Judged is reading, where each stream has answers of its own.
 */
import { partFormats } from '../../cli/plan/part-formats.ts'
import { measureThis } from '../../cli/plan/this-device.ts'
import type { Device } from '../../cli/plan/devices.ts'
import { modelWeightsSize, stageWeights } from '../../cli/plan/stages.ts'
import { decodeRows, distinctExperts, stepTime, stepWork, totalBytes, type StepWork } from '../../cli/plan/step-cost.ts'
import { GpuError } from '../../gpu-worker/gpu/gpu-error.ts'
import { entryBytes } from '../../gpu-worker/kernels/latent-pages.ts'
import { checkpointShape, preset, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { layoutModel } from '../../gpu-worker/model/layout.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import { machineName, type Figure, type Report } from '../report.ts'
import { timeStack, type StackSizes, type StackTimes, type StepFigures } from './stack-steps.ts'

const MIX: CheckpointMix = { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' }
const SHARE_MIN = 60
const LAYER_DISPATCHES_MAX = 13
/** Of the second stack. */
const SHALLOW_LAYERS = 4
const DEFAULT_GB = 78
/** Cache, activations and what the driver keeps. */
const BESIDE_BYTES = 2.5e9
/** How often a stack that does not fit after all is made a layer smaller. */
const SMALLER_MAX = 4

interface Stacks {
  readonly config: ModelConfig
  readonly deepLayers: number
  readonly shallowLayers: number
  readonly sizes: StackSizes
}

const GPU_SIZES: StackSizes = {
  streamCounts: { own: [1, 8, 32, 64], greedy: [8, 64] },
  contextTokens: 1024,
  stepCount: 12,
  rowsMax: 256,
}
const CPU_SIZES: StackSizes = {
  streamCounts: { own: [1, 4], greedy: [4] },
  contextTokens: 64,
  stepCount: 2,
  rowsMax: 32,
}

export async function k1Stack(): Promise<Report> {
  const whole = preset('axk1')
  const { tensors, quantization } = checkpointShape(whole, MIX)
  const layout = layoutModel(whole, tensors, quantization)
  const device = await measureThis({ config: whole, ...partFormats(layout), pages: 'f32' }, null)
  const stacks = stacksFor(device, whole)
  const deep = await deepest(stacks)
  const { config, shallowLayers, sizes } = stacks
  const own = { ...sizes, streamCounts: { ...sizes.streamCounts, greedy: [] } }
  const shallow = await timeStack(withLayers(config, shallowLayers), MIX, own)
  const day = new Date().toISOString().slice(0, 10)
  return {
    bench: 'k1-stack',
    machine: machineName(),
    adapter: deep.adapter,
    date: day,
    notes: notesOf(stacks),
    figures: [
      { name: 'stream', value: device.roof.rest.bytesPerSecond / 1e9, unit: 'GB/s' },
      { name: 'fma', value: device.roof.rest.flopsPerSecond / 1e9, unit: 'GFLOP/s' },
      {
        name: 'a dispatch that does nothing, by the host’s clock',
        value: device.roof.dispatchSeconds * 1e6,
        unit: 'µs',
      },
      { name: 'layers that fit, the first dense', value: deep.layerCount, unit: '' },
      { name: 'weights', value: deep.weightBytes / 1e9, unit: 'GB' },
      { name: 'filling them', value: deep.loadSeconds, unit: 's' },
      ...deep.steps.flatMap((step) => figuresOf(stacks, device, deep, shallow, step)),
    ],
  }
}

function stacksFor(device: Device, whole: ModelConfig): Stacks {
  if (device.kernels === 'cpu') {
    // The fewest experts that the routing allows.
    const config = { ...whole, routedExpertCount: 16, vocabSize: 4096 }
    return { config, deepLayers: 3, shallowLayers: 2, sizes: CPU_SIZES }
  }
  const size = sizeOf(whole, device)
  const { embeddingBytes, headBytes, layers } = size
  let left = Number(process.env['AXLE_BENCH_GB'] ?? DEFAULT_GB) * 1e9 - BESIDE_BYTES - embeddingBytes - headBytes
  let deepLayers = 0
  for (const layer of layers) {
    left -= layer.bytes
    if (left >= 0) deepLayers += 1
  }
  return { config: whole, deepLayers, shallowLayers: Math.min(SHALLOW_LAYERS, deepLayers - 1), sizes: GPU_SIZES }
}

async function deepest({ config, deepLayers, sizes }: Stacks): Promise<StackTimes> {
  for (let smaller = 0; ; smaller++) {
    try {
      return await timeStack(withLayers(config, deepLayers - smaller), MIX, sizes)
    } catch (error) {
      if (!(error instanceof GpuError) || smaller === SMALLER_MAX) throw error
      console.error(`${deepLayers - smaller} layers: ${error.message}`)
    }
  }
}

function withLayers(config: ModelConfig, layerCount: number): ModelConfig {
  return { ...config, layerCount }
}

function sizeOf(config: ModelConfig, { bindingBytesMax }: Device): ReturnType<typeof modelWeightsSize> {
  const { tensors, quantization } = checkpointShape(config, MIX)
  return modelWeightsSize(config, layoutModel(config, tensors, quantization), bindingBytesMax)
}

function figuresOf(
  { config, sizes }: Stacks,
  device: Device,
  deep: StackTimes,
  shallow: StackTimes,
  step: StepFigures,
): Figure[] {
  const { streams, answers, stepSeconds, hostSeconds, distinctExperts: distinct, dispatchCount } = step
  const below = shallow.steps.find((other) => other.streams === streams && other.answers === answers)
  const layers = deep.layerCount - shallow.layerCount
  const ofLayer = (stepSeconds - (below?.stepSeconds ?? NaN)) / layers
  const work = readOnce(withLayers(config, deep.layerCount), device, streams, sizes.contextTokens, distinct)
  const reading = totalBytes(work) / device.roof.rest.bytesPerSecond
  const computing = totalFlops(work) / device.roof.rest.flopsPerSecond
  const share = (100 * reading) / stepSeconds
  const nearer = stepTime(work, { ...device.roof, dispatchSeconds: 0 }).seconds
  const evenly = distinctExperts(config.routedExpertCount, config.expertsPerToken, streams)
  const { layerCount } = preset('axk1')
  const all = stepSeconds + (layerCount - deep.layerCount) * ofLayer
  const isJudged = device.kernels === 'gpu' && answers === 'own'
  const goal = isJudged ? { goal: `≥ ${SHARE_MIN}`, holds: share >= SHARE_MIN } : {}
  const name = answers === 'own' ? `batch ${streams}` : `batch ${streams}, greedy answers`
  const figures: Figure[] = [
    { name: `${name}: step`, value: stepSeconds * 1e3, unit: 'ms' },
    { name: `${name}: it must read`, value: totalBytes(work) / 1e9, unit: `GB, ${(reading * 1e3).toFixed(2)} ms` },
    {
      name: `${name}: it must compute`,
      value: totalFlops(work) / 1e9,
      unit: `GFLOP, ${(computing * 1e3).toFixed(2)} ms`,
    },
    { name: `${name}: share of the memory roof`, value: share, unit: '%', ...goal },
    { name: `${name}: share of the nearer roof, part by part`, value: (100 * nearer) / stepSeconds, unit: '%' },
    { name: `${name}: experts a layer`, value: distinct, unit: `of ${evenly.toFixed(1)} if drawn evenly` },
  ]
  if (answers === 'greedy') return figures
  const dispatches = (dispatchCount - (below?.dispatchCount ?? NaN)) / layers
  const few = { goal: `≤ ${LAYER_DISPATCHES_MAX}`, holds: dispatches <= LAYER_DISPATCHES_MAX }
  return [
    ...figures,
    { name: `${name}: a layer`, value: ofLayer * 1e3, unit: 'ms' },
    { name: `${name}: dispatches of a layer`, value: dispatches, unit: '', ...(device.kernels === 'gpu' ? few : {}) },
    {
      name: `${name}: dispatches`,
      value: dispatchCount,
      unit: `${(dispatchCount * device.roof.dispatchSeconds * 1e3).toFixed(2)} ms if they did nothing`,
    },
    { name: `${name}: the host gives a step`, value: hostSeconds * 1e3, unit: 'ms' },
    { name: `${name}: a step of ${layerCount} layers`, value: all * 1e3, unit: 'ms' },
    { name: `${name}: with ${layerCount} layers`, value: streams / all, unit: 'tokens/s' },
  ]
}

function totalFlops({ experts, rest, attention }: StepWork): number {
  return experts.flops + rest.flops + attention.flops
}

/** What a step must read and compute: every weight it needs once, of experts those that were chosen. */
function readOnce(
  config: ModelConfig,
  device: Device,
  streams: number,
  contextTokens: number,
  distinct: number,
): StepWork {
  const weights = stageWeights(sizeOf(config, device), { start: 0, end: config.layerCount })
  const rows = decodeRows(streams, contextTokens)
  const work = stepWork(config, weights, entryBytes(attentionShape(config)), rows, 'once')
  return { ...work, experts: { ...work.experts, bytes: distinct * weights.expertBytes } }
}

function notesOf({ config, sizes, shallowLayers }: Stacks): string[] {
  return [
    `A.X K1’s widths, ${config.routedExpertCount} experts, experts int4, the rest int8, embedding and head bf16; profile exact; counter-hash weights.`,
    `Greedy decodes through the engine behind one prompt of ${sizes.contextTokens} tokens, found in the cache but for a token of each stream’s own; a step`,
    `is the mean of ${sizes.stepCount}. Answers: each stream’s own tokens, drawn; and beside it what greedy decoding of such weights answers, often the same`,
    'tokens in many streams, and then the same experts. What a step must read: each weight once, of experts those chosen (counted), each row’s',
    'own keys. Part by part: experts, attention and the rest each take the longer of reading and computing.',
    `${preset('axk1').layerCount} layers: this step and as many layers more at the difference to a stack of ${shallowLayers}; as one GPU that held them, or`,
    'as several in turn, hand-over not counted. The host gives a step while the one before runs.',
  ]
}
