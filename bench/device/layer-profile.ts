/**
 * `bench layer-profile`: where a decode step of A.X K1 spends the GPU's time, dispatch by dispatch, by timestamps.
 *
 * A dense layer and a few of experts at full width, hashed weights, each row its own token behind one prompt. A layer is the
 * sequence of kernels that repeats; each of its dispatches is the median over layers and steps. It judges nothing. On a CPU
 * adapter: few experts, a short prompt.
 */
import { strict as assert } from 'node:assert'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { loadHashedModel } from '../k1-layer/hashed-model.ts'
import { machineName, type Figure, type Report } from '../report.ts'
import { DecodeSteps } from './decode-steps.ts'
import { timeEmpty } from './empty-dispatches.ts'
import { median, ROUNDED_TIMESTAMPS, timeRuns, type Timed } from './pass-times.ts'
import { longestRepetition } from './repeated.ts'

const MIX: CheckpointMix = { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' }
const DEADLINE_MS = 120_000
/** Rows of one of the prompt's steps. */
const ROWS_MAX = 256
/** No layer has fewer dispatches. */
const PERIOD_MIN = 4

interface Sizes {
  readonly batches: readonly number[]
  readonly contextTokens: number
  readonly expertLayers: number
  /** Of timed steps, each way. */
  readonly stepCount: number
}

const GPU_SIZES: Sizes = { batches: [1, 8, 32, 64], contextTokens: 1024, expertLayers: 4, stepCount: 24 }
const CPU_SIZES: Sizes = { batches: [1, 4], contextTokens: 64, expertLayers: 2, stepCount: 3 }

export async function layerProfile(): Promise<Report> {
  const probed = await openDevice()
  const { processor } = probed
  probed.close()
  const sizes = processor === 'gpu' ? GPU_SIZES : CPU_SIZES
  const few = processor === 'gpu' ? {} : { routedExpertCount: 16, vocabSize: 4096 }
  const config = { ...preset('axk1'), ...few, layerCount: 1 + sizes.expertLayers }
  let watched: Gpu | null = null
  const { runner, adapter } = await loadHashedModel(config, MIX, {
    sequencesMax: Math.max(...sizes.batches),
    rowsMax: ROWS_MAX,
    blockCount: sizes.contextTokens / BLOCK_TOKENS + Math.max(...sizes.batches),
    deadlineMs: DEADLINE_MS,
    stepsInFlight: 2,
    withoutToggles: [ROUNDED_TIMESTAMPS],
    onDevice: (gpu) => {
      watched = gpu
    },
  })
  try {
    assert(watched !== null, 'A model was loaded on a device')
    const steps = new DecodeSteps(runner, config, sizes.contextTokens)
    await steps.prefill()
    const empty = await timeEmpty(watched)
    const figures: Figure[] = [
      { name: 'an empty dispatch behind one whose result it needs', value: empty.inTurn, unit: 'µs' },
      { name: 'an empty dispatch behind one that it does not need', value: empty.free, unit: 'µs' },
      { name: 'taken off: what a pass of its own adds to a dispatch', value: empty.ownPass, unit: 'µs' },
    ]
    for (const rows of sizes.batches)
      figures.push(...(await profile(watched, steps, rows, { count: sizes.stepCount, less: empty.ownPass })))
    return {
      bench: 'layer-profile',
      machine: machineName(),
      adapter: `${adapter.description}, kernels for ${processor}s`,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        `A.X K1’s widths, ${config.layerCount} layers, the first dense; experts int4, the rest int8; f32 cache, ${sizes.contextTokens} tokens of one prompt`,
        `behind each row’s own. Medians of ${sizes.stepCount} steps (a layer’s: over the layers too), a step as it is served, in one pass; then each`,
        'dispatch in a pass of its own, less what that adds. Each row: kernel, workgroups.',
      ],
      figures,
    }
  } finally {
    await runner.close()
  }
}

/** `less`: of every dispatch's time. */
async function profile(
  gpu: Gpu,
  steps: DecodeSteps,
  rows: number,
  { count, less }: { readonly count: number; readonly less: number },
): Promise<Figure[]> {
  const name = `batch ${rows}`
  // The first compiles, the second warms up.
  await steps.decode(rows)
  await steps.decode(rows)
  const step = (): Promise<void> => steps.decode(rows)
  const [pass = assert.fail('A step is a pass')] = await timeRuns(gpu, 'pass', count, step)
  const raw = await timeRuns(gpu, 'dispatches', count, step)
  const dispatches = raw.map(({ name: kernel, grid, micros }) => ({
    name: kernel,
    grid,
    micros: micros.map((own) => Math.max(0, own - less)),
  }))
  const gap = (median(pass) - total(dispatches)) / dispatches.length
  const names = dispatches.map((dispatch) => dispatch.name)
  const { start, period, repeats } = longestRepetition(names, PERIOD_MIN) ?? assert.fail('No layer repeats')
  const end = start + period * repeats
  const layer = dispatches.slice(start, start + period).map(({ name: kernel, grid }, i) => ({
    name: kernel,
    grid,
    micros: dispatches.slice(start, end).flatMap(({ micros }, at) => (at % period === i ? micros : [])),
  }))
  return [
    { name: `${name}: a step`, value: median(pass) / 1000, unit: `ms, ${names.length} dispatches` },
    { name: `${name}: its dispatches alone`, value: total(dispatches) / 1000, unit: 'ms' },
    { name: `${name}: between two dispatches`, value: gap, unit: 'µs' },
    { name: `${name}: experts chosen in a layer`, value: await steps.distinctExperts(rows), unit: '' },
    ...part(`${name}: a layer`, layer),
    {
      name: `${name}: embedding and the dense layer`,
      value: total(dispatches.slice(0, start)),
      unit: `µs, ${start} dispatches`,
    },
    ...part(`${name}: from the last layer to the token`, dispatches.slice(end)),
  ]
}

function part(name: string, dispatches: readonly Timed[]): Figure[] {
  return [
    { name, value: total(dispatches), unit: `µs, ${dispatches.length} dispatches` },
    ...dispatches.map((own, i) => ({
      name: `${name}, ${i + 1} ${own.name} ${own.grid}`,
      value: median(own),
      unit: 'µs',
    })),
  ]
}

function total(dispatches: readonly Timed[]): number {
  return dispatches.reduce((sum, own) => sum + median(own), 0)
}
