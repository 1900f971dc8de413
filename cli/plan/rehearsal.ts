/**
 * How many dispatches layers take: serving's own lists, laid out on counted memory where nothing is allocated.
 */
import { CountedMemory } from '../../gpu-worker/gpu/counted-memory.ts'
import { parameterBytes, type RowDispatch } from '../../gpu-worker/gpu/recipe.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ExpertSlots } from '../../gpu-worker/model/expert-slots.ts'
import type { ModelLayout } from '../../gpu-worker/model/layout.ts'
import { layOutStep } from '../../gpu-worker/model/memory.ts'
import { modelDispatches } from '../../gpu-worker/model/model-recipe.ts'
import { allocateWeights } from '../../gpu-worker/model/weights.ts'

export interface Rehearsal {
  /** Of a step, all its rows sampled. */
  readonly dispatches: number
  /** Their shaders' parameters. */
  readonly parameterBytes: number
}

/** What of a step of one row over one split of keys has a part in it. */
const SHORT_STEP = new Set(['all', 'picked', 'plain', 'wholes'])

/** A uniform binding begins at a multiple of this on every adapter seen. */
const UNIFORM_ALIGNMENT_BYTES = 256
const ONE_ROW = { rowsMax: 4, sequencesMax: 1, blockCount: 1, contextTokensMax: 32 }

/** Throws GpuError 'limit' for weights that no binding holds. */
export function rehearse(
  config: ModelConfig,
  layout: ModelLayout,
  bindingBytesMax: number,
  expertSlots: ExpertSlots = null,
): Rehearsal {
  const { range } = layout
  const { weights } = allocateWeights(config, layout, new CountedMemory(bindingBytesMax), expertSlots)
  const memory = new CountedMemory(Infinity)
  const step = layOutStep({ config, range, profile: 'exact' }, ONE_ROW, memory, memory)
  const { layers, output } = modelDispatches({ config, range, weights, ...step })
  const lists: readonly (readonly RowDispatch<string>[])[] = [layers, output?.logits ?? [], output?.sampler ?? []]
  // The plan is for GPUs.
  const runs = lists.flat().filter(({ dispatch, rows }) => {
    return (
      SHORT_STEP.has(rows) &&
      dispatch.processor !== 'cpu' &&
      dispatch.subgroups !== false &&
      dispatch.width !== 'narrow' &&
      dispatch.halfDenormals !== false &&
      dispatch.products !== 'matrix' &&
      dispatch.grid(1) !== null
    )
  })
  return {
    dispatches: runs.length,
    parameterBytes: lists.reduce((sum, list) => sum + parameterBytes(list, UNIFORM_ALIGNMENT_BYTES), 0),
  }
}
