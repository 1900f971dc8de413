/**
 * From a checkpoint folder to a Runner: opens the device, sizes the memory, loads weights, builds the recipe.
 *
 * Reads no environment. Everything it opened is freed by the Runner's `close`, or here when loading fails.
 */
import { totalmem } from 'node:os'
import { ExpertCache } from '../experts/expert-cache.ts'
import { Buffers } from '../gpu/buffers.ts'
import { openDevice, type AdapterFacts, type DeviceOptions, type Gpu } from '../gpu/device.ts'
import { Pipelines } from '../gpu/pipelines.ts'
import type { Dispatch } from '../gpu/program.ts'
import { buildRecipe, type Recipe, type RowDispatch } from '../gpu/recipe.ts'
import { openCheckpoint, type Checkpoint } from './checkpoint.ts'
import { CheckpointRows, type LoadProgress } from './checkpoint-rows.ts'
import type { ModelConfig } from './config.ts'
import { slotsOf, type SlotsAsked } from './expert-slots.ts'
import { fillWaiting } from './expert-weights.ts'
import { fingerprintOf } from './fingerprint.ts'
import { ModelRunner, type OutputRecipes } from './forward.ts'
import { storedBytes } from './layout-sizes.ts'
import { layoutModel, type LayerRange, type ModelLayout } from './layout.ts'
import { fitMemory, type MemoryRequest } from './memory-fit.ts'
import { layOutStep, type MemoryAccount, type ServedLayers } from './memory.ts'
import { modelDispatches, type OutputDispatches, type RowSet } from './model-recipe.ts'
import { checkProfile, productsOf, type Profile } from './profile.ts'
import { RopeTable } from './rope.ts'
import type { RowSource } from './row-source.ts'
import { StepWriter } from './step-writer.ts'
import { checkWeightShapes } from './weight-shapes.ts'
import { allocateWeights } from './weights.ts'

export interface LoadOptions extends DeviceOptions, MemoryRequest {
  /** A checkpoint folder, or one already open; an open one stays the caller's. */
  readonly checkpoint: string | Checkpoint
  /** 'exact' when absent. */
  readonly profile?: Profile
  /**
   * All when absent. A Runner of some layers is a stage: its `run` takes the residual stream unless it begins with the
   * model, gives it unless it ends with the model, and the engine cannot use it.
   */
  readonly layers?: LayerRange
  /** Slots of a layer for its routed experts, which then take turns and wait in host memory; absent: all are resident. */
  readonly expertSlots?: SlotsAsked
  /**
   * Steps that may be under way at once, where the model is whole. Two keep a GPU busy; an adapter that computes on the
   * host's own cores has nothing to gain, so there it is one.
   */
  readonly stepsInFlight?: 1 | 2
  /** A smaller binding limit than the adapter's: for tests. */
  readonly bindingBytesMax?: number
  /** Replaces the config's inverse RoPE frequencies, f32 [rope / 2]: to repeat a reference that rounded its own. */
  readonly inverseFrequencies?: (config: ModelConfig) => Float32Array
  /** Told once, when memory has been fitted and before any is allocated. */
  readonly onMemory?: (account: MemoryAccount, served: ServedLayers) => void
  readonly onProgress?: (progress: LoadProgress) => void
  /** Where weights come from instead of the checkpoint's files: for weights that are computed. */
  readonly rowSource?: (gpu: Gpu) => RowSource
  /** Puts another shader in a dispatch's place: to measure against. Its bits are another fingerprint's. */
  readonly alterDispatch?: (dispatch: Dispatch) => Dispatch
}

export interface LoadedRunner {
  readonly runner: ModelRunner
  readonly config: ModelConfig
  readonly adapter: AdapterFacts
  readonly memory: MemoryAccount
  /** Allocated, as the account foretold. */
  readonly weightBytes: number
  readonly kvBytes: number
  /** What the layout warns of, in sentences. */
  readonly warnings: readonly string[]
  /** Tensors with values that are NaN or infinite, and how many. */
  readonly notFinite: ReadonlyMap<string, number>
}

/** Throws CheckpointError (the folder), GpuError 'no-adapter' or 'limit', or another GpuError of a broken device. */
export async function loadRunner(options: LoadOptions): Promise<LoadedRunner> {
  if (typeof options.checkpoint !== 'string') return loadOnDevice(options.checkpoint, options)
  const checkpoint = await openCheckpoint(options.checkpoint)
  try {
    return await loadOnDevice(checkpoint, options)
  } finally {
    await checkpoint.close()
  }
}

async function loadOnDevice(checkpoint: Checkpoint, options: LoadOptions): Promise<LoadedRunner> {
  const gpu = await openDevice(options)
  try {
    return await load(gpu, checkpoint, options)
  } catch (error) {
    gpu.close()
    throw error
  }
}

async function load(gpu: Gpu, checkpoint: Checkpoint, options: LoadOptions): Promise<LoadedRunner> {
  const { config } = checkpoint
  const { profile = 'exact', bindingBytesMax } = options
  const expertSlots = options.expertSlots === undefined ? null : slotsOf(options.expertSlots, config.routedExpertCount)
  checkProfile(profile, gpu)
  const range = rangeOf(config, options.layers)
  const layout = layoutModel(config, checkpoint.tensors, checkpoint.quantization, range)
  if (options.rowSource === undefined) await checkWeightShapes(checkpoint, layout)
  const owner = (name: string): Buffers => new Buffers(gpu, name, bindingBytesMax)
  const [cache, activations, weightBuffers] = [owner('cache'), owner('activations'), owner('weights')]
  const uniformAlignmentBytes = gpu.limits.minUniformBufferOffsetAlignment
  const device = { bindingBytesMax: weightBuffers.bindingBytesMax, uniformAlignmentBytes }
  const served = { config, layout, profile, device, expertSlots }
  const { limits, account } = fitMemory(served, { hostBytesMax: totalmem(), ...options })
  options.onMemory?.(account, served)
  // What is small first: a GPU that is full says so before minutes go into weights.
  const step = layOutStep({ config, range, profile }, limits, cache, activations)
  const { weights, takingTurns, fillFrom } = allocateWeights(config, layout, weightBuffers, expertSlots)
  const turns = takingTurns.map((layer) => layer.turns)
  const experts = turns.length === 0 ? null : new ExpertCache(gpu, turns)
  await gpu.idle('allocating memory')
  // Before minutes go into weights, too: what this adapter cannot run.
  const dispatches = modelDispatches({ config, range, weights, ...step })
  const pipelines = new Pipelines(gpu)
  const alter = options.alterDispatch ?? ((dispatch) => dispatch)
  const recipe = (list: readonly RowDispatch<RowSet>[]): Promise<Recipe<RowSet>> =>
    buildRecipe(
      gpu,
      pipelines,
      activations,
      list.map(({ dispatch, rows }) => ({ dispatch: alter(dispatch), rows })),
      productsOf(profile),
    )
  const [layers, output] = await Promise.all([recipe(dispatches.layers), outputRecipes(dispatches.output, recipe)])
  const { source, notFinite } = rowSourceOf(gpu, checkpoint, layout, options)
  try {
    await fillFrom(gpu, source)
    if (experts !== null) await fillWaiting(experts, takingTurns, source)
  } finally {
    await source.close()
  }
  experts?.seal()
  await gpu.idle('loading the model')
  const { scratch } = step
  const fingerprint = fingerprintOf(checkpoint.digest, profile, range, gpu.adapter)
  const model = {
    gpu,
    buffers: [cache, activations, weightBuffers],
    scratch,
    writer: new StepWriter(gpu, scratch.step, limits, new RopeTable(config, options.inverseFrequencies?.(config))),
    layers,
    output,
    expertsPerToken: config.expertsPerToken,
    pages: step.pages,
    takingTurns: experts === null ? null : { cache: experts, layers: turns },
    takesHidden: range.start > 0,
    stepsInFlight: options.stepsInFlight ?? (gpu.processor === 'cpu' ? 1 : 2),
  }
  return {
    runner: new ModelRunner(
      model,
      limits,
      options.alterDispatch === undefined ? fingerprint : `${fingerprint}-altered`,
    ),
    config,
    adapter: gpu.adapter,
    memory: account,
    weightBytes: weightBuffers.bytes,
    kvBytes: cache.bytes,
    warnings: layout.warnings,
    notFinite,
  }
}

/** The checkpoint's own rows unless the options bring another source. */
function rowSourceOf(
  gpu: Gpu,
  checkpoint: Checkpoint,
  layout: ModelLayout,
  { rowSource, onProgress }: LoadOptions,
): { readonly source: RowSource; readonly notFinite: ReadonlyMap<string, number> } {
  if (rowSource !== undefined) return { source: rowSource(gpu), notFinite: new Map() }
  const bytesTotal = storedBytes(layout, checkpoint.tensors)
  const source = new CheckpointRows(gpu, checkpoint, { bytesTotal, ...(onProgress && { onProgress }) })
  return { source, notFinite: source.notFinite }
}

function rangeOf({ layerCount }: ModelConfig, layers?: LayerRange): LayerRange {
  if (layers === undefined) return { start: 0, end: layerCount }
  const { start, end } = layers
  const isRange = Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= layerCount
  if (!isRange) throw new RangeError(`Cannot load layers ${start} … ${end - 1}: the model has 0 … ${layerCount - 1}`)
  return layers
}

async function outputRecipes(
  output: OutputDispatches | null,
  recipe: (list: readonly RowDispatch<RowSet>[]) => Promise<Recipe<RowSet>>,
): Promise<OutputRecipes | null> {
  if (output === null) return null
  const [logits, sampler] = await Promise.all([recipe(output.logits), recipe(output.sampler)])
  return { logits, sampler }
}
