/**
 * `bench k1-layer`: one expert layer of A.X K1 at full width, int4, beside an f64 reference and beside the plan's model.
 *
 * Weights come from a counter hash, alike on GPU and CPU; `k1-layer/` has the parts. `--control` doubles one scale of
 * 130 million on the reference's side: then the bench must fail.
 */
import { partFormats } from '../cli/plan/part-formats.ts'
import { measureThis } from '../cli/plan/this-device.ts'
import { modelWeightsSize, stageWeightBytes, stageWeights } from '../cli/plan/stages.ts'
import { prefillRows, stepTime, stepWork, totalBytes, type StepRows } from '../cli/plan/step-cost.ts'
import { entryBytes } from '../gpu-worker/kernels/latent-pages.ts'
import { checkpointShape, preset, type CheckpointMix } from '../gpu-worker/model/checkpoint-shape.ts'
import { layoutModel } from '../gpu-worker/model/layout.ts'
import { attentionShape } from '../gpu-worker/model/scratch.ts'
import { runLayer, type LayerCase, type TokenComparison } from './k1-layer/layer-run.ts'
import { machineName, type Figure, type Report } from './report.ts'

const NMSE_MAX = 1e-8
const SECONDS_MAX = 300
const RSS_GIB_MAX = 8
const MIX: CheckpointMix = { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' }
/** The first expert layer. */
const LAYER = 1
/** Two blocks for the far positions' table to name, and 17 tokens of the block that the far positions are written to. */
const PREFILL_TOKENS = 2 * 32 + 17
/** Positions 100,000 … 100,031 lie in the block after these. */
const FAR_BLOCKS = 3125
const FAR_START = 100_017

export async function k1Layer({ isControl }: { readonly isControl: boolean }): Promise<Report> {
  const startedMs = performance.now()
  const config = preset('axk1')
  const { tensors, quantization } = checkpointShape(config, MIX)
  const layout = layoutModel(config, tensors, quantization)
  const device = await measureThis({ config, ...partFormats(layout), pages: 'f32' }, null)
  const layerCase: LayerCase = {
    config,
    mix: MIX,
    layer: LAYER,
    prefillTokens: PREFILL_TOKENS,
    farBlocks: FAR_BLOCKS,
    isControl,
  }
  const { tokens, loaded, seconds } = await runLayer(layerCase)
  const size = modelWeightsSize(config, layout, device.bindingBytesMax)
  const range = { start: LAYER, end: LAYER + 1 }
  const planned = (rows: StepRows): { readonly seconds: number; readonly bytes: number } => {
    const work = stepWork(config, stageWeights(size, range), entryBytes(attentionShape(config)), rows, device.kernels)
    return { seconds: stepTime(work, device.asBuilt).seconds, bytes: totalBytes(work) }
  }
  const near = planned(prefillRows(PREFILL_TOKENS - 1, 1, false))
  const far = planned(prefillRows(FAR_START, 2, false))
  const figures: Figure[] = [
    ...tokens.flatMap(figuresOf),
    {
      name: 'tokens whose 8 experts are the reference’s, in its order',
      value: tokens.filter(({ areExpertsEqual }) => areExpertsEqual).length,
      unit: `of ${tokens.length}`,
      goal: 'all',
      holds: tokens.every(({ areExpertsEqual }) => areExpertsEqual),
    },
    {
      name: 'the nearest choice among experts was won by',
      value: Math.min(...tokens.map(({ margin }) => margin)),
      unit: 'of a score',
    },
    { name: 'weights on the GPU', value: loaded.weightBytes / 1e6, unit: 'MB' },
    { name: 'weights on the GPU, by the plan', value: stageWeightBytes(size, range) / 1e6, unit: 'MB' },
    { name: 'a step of 1 token', value: seconds.nearStep, unit: 's' },
    { name: 'a step of 1 token, by the plan', value: near.seconds, unit: 's' },
    { name: 'a step of 1 token reads, by the plan', value: near.bytes / 1e6, unit: 'MB' },
    { name: 'a step of 2 tokens at 100,017', value: seconds.farStep, unit: 's' },
    { name: 'a step of 2 tokens at 100,017, by the plan', value: far.seconds, unit: 's' },
    { name: 'a step of 2 tokens at 100,017 reads, by the plan', value: far.bytes / 1e6, unit: 'MB' },
    { name: `prefill of ${PREFILL_TOKENS} tokens`, value: seconds.prefill, unit: 's' },
    { name: 'filling the weights, with all preparation', value: seconds.load, unit: 's' },
    { name: 'the f64 reference', value: seconds.reference, unit: 's' },
    bounded('the whole bench', (performance.now() - startedMs) / 1000, 's', SECONDS_MAX),
    bounded('peak resident memory', process.resourceUsage().maxRSS / 2 ** 20, 'GiB', RSS_GIB_MAX),
  ]
  const day = new Date().toISOString().slice(0, 10)
  const { description } = loaded.adapter
  return { bench: 'k1-layer', machine: machineName(), adapter: description, date: day, notes: NOTES, figures }
}

const NOTES = [
  'Layer 1 of preset axk1: hidden 7168, 192 experts of 2048 in 8 groups (4 kept, 8 experts chosen), 64 heads, ranks 512',
  'and 1536, YaRN; experts int4, the rest int8, a bf16 scale for 32 columns; profile exact. Weights from a counter hash.',
  `The far positions' cache: ${PREFILL_TOKENS} tokens were prefilled, and a block table of ${FAR_BLOCKS} entries names two of their`,
  'blocks over and over in a hashed order. Keys so far back keep the angles of the positions they were written at.',
  'The plan: its model of bytes and operations, as built, on rates measured in this run.',
]

function figuresOf({ position, nmse, addedNmse }: TokenComparison): Figure[] {
  const at = `position ${position.toLocaleString('en')}`
  return [
    bounded(`${at}: NMSE of the residual stream`, nmse, '', NMSE_MAX),
    bounded(`${at}: NMSE of what the layer adds`, addedNmse, '', NMSE_MAX),
  ]
}

function bounded(name: string, value: number, unit: string, most: number): Figure {
  return { name, value, unit, goal: `≤ ${most}`, holds: value <= most }
}
