/**
 * From a checkpoint folder to a Runner: opens the device, sizes the memory, loads weights, builds the recipe.
 *
 * Reads no environment. Everything it opened is freed by the Runner's `close`, or here when loading fails.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import type { RunnerLimits } from '../engine/runner.ts'
import { Buffers } from '../gpu/buffers.ts'
import { openDevice, type AdapterFacts, type DeviceOptions, type Gpu } from '../gpu/device.ts'
import { GpuError } from '../gpu/gpu-error.ts'
import { Pipelines } from '../gpu/pipelines.ts'
import { buildRecipe, type Recipe, type RowDispatch } from '../gpu/recipe.ts'
import { blockBytes } from '../kernels/latent-pages.ts'
import { ROWS_TOGETHER } from '../kernels/matmul-rows.ts'
import { BLOCK_TOKENS } from '../kernels/step-input.ts'
import { kernelDigest } from '../kernels/wgsl.ts'
import { openCheckpoint, type Checkpoint } from './checkpoint.ts'
import { CheckpointRows, type LoadProgress } from './checkpoint-rows.ts'
import type { ModelConfig } from './config.ts'
import { ModelRunner, type OutputRecipes } from './forward.ts'
import { storedBytes } from './layout-sizes.ts'
import { layoutModel, type LayerRange, type ModelLayout } from './layout.ts'
import { modelDispatches, type OutputDispatches, type RowSet } from './model-recipe.ts'
import { pageFormat, type Profile } from './profile.ts'
import { RopeTable } from './rope.ts'
import type { RowSource } from './row-source.ts'
import { attentionShape, layOutScratch } from './scratch.ts'
import { StepWriter } from './step-writer.ts'
import { loadWeights } from './weights.ts'

const DEFAULT_SEQUENCES_MAX = 32
const DEFAULT_ROWS_MAX = 256
const DEFAULT_KV_BYTES_MAX = 256 * 1024 * 1024

export interface LoadOptions extends DeviceOptions {
  /** A checkpoint folder, or one already open; an open one stays the caller's. */
  readonly checkpoint: string | Checkpoint
  /** 'exact' when absent. */
  readonly profile?: Profile
  /**
   * All when absent. A Runner of some layers is a stage: its `run` takes the residual stream unless it begins with the
   * model, gives it unless it ends with the model, and the engine cannot use it.
   */
  readonly layers?: LayerRange
  readonly sequencesMax?: number
  /** Rows of one step; rounded up to a multiple of 4. */
  readonly rowsMax?: number
  /** KV blocks; by default as many as `kvBytesMax` and the binding limit allow, at most what all sequences can fill. */
  readonly blockCount?: number
  readonly kvBytesMax?: number
  /** A smaller binding limit than the adapter's: for tests. */
  readonly bindingBytesMax?: number
  /** Replaces the config's inverse RoPE frequencies, f32 [rope / 2]: to repeat a reference that rounded its own. */
  readonly inverseFrequencies?: (config: ModelConfig) => Float32Array
  readonly onProgress?: (progress: LoadProgress) => void
  /** Where weights come from instead of the checkpoint's files: for weights that are computed. */
  readonly rowSource?: (gpu: Gpu) => RowSource
}

export interface LoadedRunner {
  readonly runner: ModelRunner
  readonly config: ModelConfig
  readonly adapter: AdapterFacts
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
  const profile = options.profile ?? 'exact'
  const format = pageFormat(profile)
  const range = rangeOf(config, options.layers)
  const layout = layoutModel(config, checkpoint.tensors, checkpoint.quantization, range)
  const owner = (name: string): Buffers => new Buffers(gpu, name, options.bindingBytesMax)
  const [weightBuffers, kvBuffers, scratchBuffers] = [owner('weights'), owner('kv'), owner('scratch')]
  const limits = limitsOf(config, range, kvBuffers.bindingBytesMax, options)
  const { source, notFinite } = rowSourceOf(gpu, checkpoint, layout, options)
  const weights = await loadAndClose(source, () => loadWeights(gpu, config, layout, source, weightBuffers))
  const shape = attentionShape(config)
  const { blockCount, rowsMax, sequencesMax } = limits
  const pages = weights.layers.map((_, i) => {
    const slice = kvBuffers.storage(`layer-${range.start + i}`, blockCount * blockBytes(shape, format))
    return { slice, shape, blockCount, format }
  })
  const pickedMax = Math.ceil(sequencesMax / ROWS_TOGETHER) * ROWS_TOGETHER
  const tableEntriesMax = sequencesMax * Math.min(blockCount, Math.ceil(limits.contextTokensMax / BLOCK_TOKENS))
  const scratch = layOutScratch(config, range, scratchBuffers, { rowsMax, pickedMax, tableEntriesMax })
  const dispatches = modelDispatches({ config, range, weights, scratch, pages, rowsMax, pickedMax })
  const pipelines = new Pipelines(gpu)
  const recipe = (list: readonly RowDispatch<RowSet>[]): Promise<Recipe<RowSet>> =>
    buildRecipe(gpu, pipelines, scratchBuffers, list)
  const [layers, output] = await Promise.all([recipe(dispatches.layers), outputRecipes(dispatches.output, recipe)])
  await gpu.idle('loading the model')
  const model = {
    gpu,
    buffers: [weightBuffers, kvBuffers, scratchBuffers],
    scratch,
    writer: new StepWriter(gpu, scratch.step, limits, new RopeTable(config, options.inverseFrequencies?.(config))),
    layers,
    output,
    expertsPerToken: config.expertsPerToken,
    takesHidden: range.start > 0,
  }
  return {
    runner: new ModelRunner(model, limits, fingerprintOf(checkpoint.digest, profile, range, gpu.adapter)),
    config,
    adapter: gpu.adapter,
    weightBytes: weightBuffers.bytes,
    kvBytes: kvBuffers.bytes,
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

async function loadAndClose<Loaded>(source: RowSource, act: () => Promise<Loaded>): Promise<Loaded> {
  try {
    return await act()
  } finally {
    await source.close()
  }
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

function limitsOf(config: ModelConfig, range: LayerRange, bindingBytesMax: number, options: LoadOptions): RunnerLimits {
  const { contextTokensMax, vocabSize } = config
  const layerCount = range.end - range.start
  const sequencesMax = options.sequencesMax ?? DEFAULT_SEQUENCES_MAX
  const rowsMax = Math.ceil((options.rowsMax ?? DEFAULT_ROWS_MAX) / ROWS_TOGETHER) * ROWS_TOGETHER
  const bytesPerBlock = blockBytes(attentionShape(config), pageFormat(options.profile ?? 'exact'))
  const blocksFillable = sequencesMax * Math.ceil(contextTokensMax / BLOCK_TOKENS)
  const kvBytesMax = options.kvBytesMax ?? DEFAULT_KV_BYTES_MAX
  const blocksAffordable = Math.floor(kvBytesMax / (bytesPerBlock * layerCount))
  const blocksBindable = Math.floor(bindingBytesMax / bytesPerBlock)
  const blockCount = options.blockCount ?? Math.min(blocksFillable, blocksAffordable, blocksBindable)
  if (blockCount < 1 || blockCount > blocksBindable) {
    const holds = `one binding holds ${blocksBindable}, ${kvBytesMax} bytes hold ${blocksAffordable}`
    throw new GpuError('limit', `Cannot allocate ${blockCount} KV blocks in each of ${layerCount} layers: ${holds}`)
  }
  return { rowsMax, sequencesMax, blockTokens: BLOCK_TOKENS, blockCount, contextTokensMax, vocabSize }
}

/** Equal fingerprints give equal bits: everything that can change one enters. */
function fingerprintOf(modelDigest: string, profile: Profile, range: LayerRange, adapter: AdapterFacts): string {
  const dawn: unknown = createRequire(import.meta.url)('webgpu/package.json')
  const version = typeof dawn === 'object' && dawn !== null && 'version' in dawn ? String(dawn.version) : 'unknown'
  const identity = [modelDigest, profile, range.start, range.end, kernelDigest(), adapter, version]
  return `axle-${createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 16)}`
}
