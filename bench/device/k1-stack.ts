/**
 * `bench k1-stack`: decode steps of a stack of A.X K1's layers, as many as the GPU holds, against what they must read.
 *
 * The model is A.X K1 with fewer layers, whole: embedding, a dense layer, expert layers, head. Weights come from a counter
 * hash; steps go through the engine. `AXLE_BENCH_GB` is how much memory may be used (WebGPU does not tell). A second,
 * shallower stack gives the time of a layer, and with it that of all 61. On a CPU adapter: few experts, two layers.
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
import { timeStack, type StackSizes, type StackTimes } from './stack-steps.ts'

const MIX: CheckpointMix = { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' }
const SHARE_MIN = 60
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

const GPU_SIZES: StackSizes = { streamCounts: [1, 8, 32, 64], contextTokens: 1024, stepCount: 12, rowsMax: 256 }
const CPU_SIZES: StackSizes = { streamCounts: [1, 4], contextTokens: 64, stepCount: 2, rowsMax: 32 }

export async function k1Stack(): Promise<Report> {
  const whole = preset('axk1')
  const { tensors, quantization } = checkpointShape(whole, MIX)
  const layout = layoutModel(whole, tensors, quantization)
  const device = await measureThis({ config: whole, ...partFormats(layout), pages: 'f32' }, null)
  const stacks = stacksFor(device, whole)
  const deep = await deepest(stacks)
  const shallow = await timeStack(withLayers(stacks.config, stacks.shallowLayers), MIX, stacks.sizes)
  const day = new Date().toISOString().slice(0, 10)
  return {
    bench: 'k1-stack',
    machine: machineName(),
    adapter: deep.adapter,
    date: day,
    notes: notesOf(stacks, deep),
    figures: [
      { name: 'stream', value: device.roof.rest.bytesPerSecond / 1e9, unit: 'GB/s' },
      { name: 'layers that fit, the first dense', value: deep.layerCount, unit: '' },
      { name: 'weights', value: deep.weightBytes / 1e9, unit: 'GB' },
      { name: 'filling them', value: deep.loadSeconds, unit: 's' },
      ...stacks.sizes.streamCounts.flatMap((streams) => figuresOf(stacks, device, deep, shallow, streams)),
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
  streams: number,
): Figure[] {
  const [seconds, distinct] = [deep.stepSeconds.get(streams) ?? NaN, deep.distinctExperts.get(streams) ?? NaN]
  const work = readOnce(withLayers(config, deep.layerCount), device, streams, sizes.contextTokens, distinct)
  const bytes = totalBytes(work)
  const byBytes = bytes / device.roof.rest.bytesPerSecond
  const share = (100 * byBytes) / seconds
  const nearer = stepTime(work, { ...device.roof, dispatchSeconds: 0 }).seconds
  const evenly = distinctExperts(config.routedExpertCount, config.expertsPerToken, streams)
  const ofLayer = (seconds - (shallow.stepSeconds.get(streams) ?? NaN)) / (deep.layerCount - shallow.layerCount)
  const { layerCount } = preset('axk1')
  const all = seconds + (layerCount - deep.layerCount) * ofLayer
  const judged = device.kernels === 'gpu' ? { goal: `≥ ${SHARE_MIN}`, holds: share >= SHARE_MIN } : {}
  const name = `batch ${streams}`
  return [
    { name: `${name}: step`, value: seconds * 1e3, unit: 'ms' },
    { name: `${name}: it must read`, value: bytes / 1e9, unit: 'GB' },
    { name: `${name}: share of the memory roof`, value: share, unit: '%', ...judged },
    { name: `${name}: share of the nearer roof, part by part`, value: (100 * nearer) / seconds, unit: '%' },
    { name: `${name}: experts a layer`, value: distinct, unit: `of ${evenly.toFixed(1)} if drawn evenly` },
    { name: `${name}: a layer`, value: ofLayer * 1e3, unit: 'ms' },
    { name: `${name}: a step of ${layerCount} layers`, value: all * 1e3, unit: 'ms' },
    { name: `${name}: with ${layerCount} layers`, value: streams / all, unit: 'tokens/s' },
  ]
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

function notesOf({ config, sizes, shallowLayers }: Stacks, deep: StackTimes): string[] {
  return [
    `A.X K1’s widths, ${config.routedExpertCount} experts, experts int4, the rest int8, embedding and head bf16; profile exact; counter-hash weights.`,
    `Greedy decodes through the engine, all behind one prompt of ${sizes.contextTokens} tokens found in the cache but for a token of their own;`,
    `a step is the mean of ${sizes.stepCount}. What it must read: each weight once, of experts those chosen (counted), each row’s own keys.`,
    `${preset('axk1').layerCount} layers: this step and as many layers more at the difference to a stack of ${shallowLayers}; as one GPU that held them, or`,
    `as several in turn, hand-over not counted. A step dispatches ${deep.dispatchCount} kernels.`,
  ]
}
