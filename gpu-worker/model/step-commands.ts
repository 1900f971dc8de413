/**
 * The one pass of a step, as commands. They depend on row counts alone, so the next step's can be encoded while the GPU
 * works on this one: decodes follow decodes of the same counts.
 *
 * A third of a millisecond for a hundred dispatches, which a step of one decode feels. Knows no batch, submits nothing.
 */
import type { Gpu } from '../gpu/device.ts'
import type { Recipe } from '../gpu/recipe.ts'
import type { RowSet } from './model-recipe.ts'

type Counts = Readonly<Record<RowSet, number>>

export interface StepPass {
  readonly counts: Counts
  /** Of its dispatches, in order. */
  readonly kernels: readonly string[]
  /** To be submitted once. */
  readonly commands: GPUCommandBuffer
}

export class StepCommands {
  readonly #gpu: Gpu
  readonly #recipes: readonly Recipe<RowSet>[]
  #ahead: StepPass | null = null

  /** The recipes run in order. */
  constructor(gpu: Gpu, recipes: readonly Recipe<RowSet>[]) {
    this.#gpu = gpu
    this.#recipes = recipes
  }

  /** For one submit: what was encoded ahead if it fits. */
  take(counts: Counts): StepPass {
    const ahead = this.#ahead
    this.#ahead = null
    return ahead !== null && areEqual(ahead.counts, counts) ? ahead : this.#encode(counts)
  }

  /** In case that the next step has these counts. */
  prepare(counts: Counts): void {
    this.#ahead = this.#encode(counts)
  }

  #encode(counts: Counts): StepPass {
    const encoder = this.#gpu.device.createCommandEncoder({ label: 'step' })
    const pass = encoder.beginComputePass({ label: 'step' })
    const kernels = this.#recipes.flatMap((recipe) => recipe.encode(pass, counts))
    pass.end()
    return { counts, kernels, commands: encoder.finish() }
  }
}

function areEqual(left: Counts, right: Counts): boolean {
  const sets = Object.keys(left) as RowSet[] // the keys of a record of row sets
  return sets.every((set) => left[set] === right[set])
}
