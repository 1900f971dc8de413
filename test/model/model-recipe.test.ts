/** How many dispatches an expert layer of A.X K1 takes, counted on the lists that serving runs. */
import { describe, expect, it } from 'vitest'
import { CountedMemory } from '../../gpu-worker/gpu/counted-memory.ts'
import type { Processor } from '../../gpu-worker/gpu/program.ts'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { layoutModel } from '../../gpu-worker/model/layout.ts'
import { layOutStep } from '../../gpu-worker/model/memory.ts'
import { modelDispatches } from '../../gpu-worker/model/model-recipe.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { parseQuantization } from '../../gpu-worker/model/quantization.ts'
import { allocateWeights } from '../../gpu-worker/model/weights.ts'

const config = preset('axk1')
const adapters = [
  { processor: 'cpu', subgroups: true },
  { processor: 'cpu', subgroups: false },
  { processor: 'gpu', subgroups: true },
  { processor: 'gpu', subgroups: false },
] as const

interface Adapter {
  readonly processor: Processor
  readonly subgroups: boolean
}

/** Of a second layer's, so that a layer before and one behind are there; no binding limit: each weight is one binding. */
function countsOf(mix: CheckpointMix, { processor, subgroups }: Adapter): (rows: number) => number {
  // A GPU takes attention in stages: scores, then their mixes.
  const takesPart: readonly string[] = processor === 'gpu' ? ['all', 'splits-0', 'mixes-0'] : ['all', 'wholes']
  const { tensors, quantizationConfig } = checkpointShape(config, mix)
  const quantization = parseQuantization({ quantization_config: quantizationConfig })
  const names = (end: number): ((rows: number) => number) => {
    const range = { start: 2, end }
    const layout = layoutModel(config, tensors, quantization, range)
    const { weights } = allocateWeights(config, layout, new CountedMemory(Infinity))
    const memory = new CountedMemory(Infinity)
    const size = { rowsMax: 64, sequencesMax: 64, blockCount: 64, contextTokensMax: 512 }
    const step = layOutStep({ config, range, profile: 'exact' }, size, memory, memory)
    const { layers } = modelDispatches({ config, range, weights, ...step })
    const own = layers.filter(({ dispatch, rows }) => {
      return (
        takesPart.includes(rows) &&
        (dispatch.processor ?? processor) === processor &&
        (dispatch.subgroups ?? subgroups) === subgroups &&
        dispatch.width !== 'narrow' &&
        dispatch.products !== 'matrix'
      )
    })
    return (rows) => own.filter(({ dispatch }) => dispatch.grid(rows) !== null).length
  }
  const [one, two] = [names(3), names(4)]
  return (rows) => two(rows) - one(rows)
}

const rowCounts = Array.from({ length: 64 }, (_, i) => i + 1)
/** A shared expert stored unlike the others lies apart: its second product, and int8 beside a bf16 router. */
const cases: (CheckpointMix & { readonly dispatches: number })[] = [
  { experts: 'bf16', rest: 'bf16', group: 32, layout: 'fused', dispatches: 13 },
  { experts: 'int8', rest: 'int8', group: 32, layout: 'per-expert', dispatches: 13 },
  { experts: 'int4', rest: 'bf16', group: 32, layout: 'per-expert', dispatches: 14 },
  { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert', dispatches: 15 },
]

describe.each(adapters)('an expert layer of A.X K1 on a $processor, subgroups: $subgroups', (adapter) => {
  it.each(cases)(
    'with experts in $experts, the rest in $rest takes $dispatches dispatches at 1 … 64 rows, a GPU one more',
    (mix) => {
      const count = countsOf(mix, adapter)
      expect(rowCounts.map(count)).toEqual(rowCounts.map(() => mix.dispatches + Number(adapter.processor === 'gpu')))
    },
  )
})
