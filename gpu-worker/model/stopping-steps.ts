/**
 * Steps of a model whose routed experts take turns: each stops behind every router, and goes on once who was chosen is there.
 *
 * Which dispatches want a layer's experts in place is read off their bindings: those that read its table of places. They run
 * once a round, over whoever lies in slots then; the bits are those of a step that has all experts at once. Knows no batch.
 */
import { strict as assert } from 'node:assert'
import type { ExpertCache, TakingTurns } from '../experts/expert-cache.ts'
import type { Buffers, Slice } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import type { Dispatch } from '../gpu/program.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import type { RowSet } from './model-recipe.ts'

type Counts = Readonly<Record<RowSet, number>>

/** What of the routers' work is looked at on the way. */
export interface ChosenExperts {
  /** u32 [rows, pairs] of each layer whose experts take turns. */
  readonly chosen: readonly Slice[]
  readonly pairsPerRow: number
}

export interface StoppingModel extends ChosenExperts {
  readonly gpu: Gpu
  readonly cache: ExpertCache
  /** In the order of the cache. */
  readonly layers: readonly TakingTurns[]
}

/** One step at a time. */
export class StoppingSteps {
  readonly #model: StoppingModel
  readonly #readback: Readback
  /** `key`: the layer whose experts it wants in place; null: it wants none. */
  readonly #parts: ReturnType<typeof partsOf>

  /** The recipes run in order; the staging buffer belongs to `staging`. */
  constructor(model: StoppingModel, recipes: readonly Recipe<RowSet>[], staging: Buffers) {
    this.#model = model
    this.#parts = partsOf(model.layers, recipes)
    this.#readback = new Readback(model.gpu, staging, chosenBytes(model))
  }

  /** Submits all of a step, and `behind` with its end. Returns the names of its dispatches, in order. */
  async submit(counts: Counts, behind: readonly GPUCommandBuffer[]): Promise<string[]> {
    const { gpu, cache } = this.#model
    const begin = (): GPUCommandEncoder => gpu.device.createCommandEncoder({ label: 'part of a step' })
    const send = (encoder: GPUCommandEncoder, ...more: readonly GPUCommandBuffer[]): void =>
      gpu.device.queue.submit([encoder.finish(), ...more])
    const kernels: string[] = []
    let encoder = begin()
    for (const { key: layer, recipe } of this.#parts) {
      if (layer === null) {
        kernels.push(...encode(encoder, recipe, counts))
        continue
      }
      const { slice, bytes } = this.#chosenOf(layer, counts)
      this.#readback.copy(encoder, slice, bytes)
      send(encoder)
      const chosen = new Uint32Array((await this.#readback.read(bytes, 'chosen experts')).buffer)
      encoder = begin()
      for (const [i, round] of cache.rounds(layer, chosen).entries()) {
        if (i > 0) {
          send(encoder)
          encoder = begin()
        }
        cache.bring(layer, round, i === 0, encoder)
        kernels.push(...encode(encoder, recipe, counts))
      }
    }
    send(encoder, ...behind)
    return kernels
  }

  #chosenOf(layer: number, { all }: Counts): { readonly slice: Slice; readonly bytes: number } {
    const slice = this.#model.chosen[layer]
    assert(slice !== undefined, `Nobody chooses experts of layer ${layer}`)
    return { slice, bytes: all * this.#model.pairsPerRow * 4 }
  }
}

/** What their way back takes. */
export function chosenBytes({ chosen }: ChosenExperts): number {
  return chosen[0]?.bytes ?? 0
}

function partsOf(
  layers: readonly TakingTurns[],
  recipes: readonly Recipe<RowSet>[],
): { readonly key: number | null; readonly recipe: Recipe<RowSet> }[] {
  const layerOf = new Map(layers.map(({ experts }, layer) => [experts.places, layer]))
  const wanted = ({ bindings }: Dispatch): number | null => {
    const places = bindings.find((binding) => layerOf.has(binding))
    return places === undefined ? null : (layerOf.get(places) ?? null)
  }
  return recipes.flatMap((recipe) => recipe.partsBy(wanted))
}

function encode(encoder: GPUCommandEncoder, recipe: Recipe<RowSet>, counts: Counts): string[] {
  const pass = encoder.beginComputePass({ label: 'part of a step' })
  const kernels = recipe.encode(pass, counts)
  pass.end()
  return kernels
}
