/**
 * The Runner over a model on a GPU: one submit a step, one small upload, one readback of what was sampled.
 *
 * Over a range of the layers it is a stage of a pipeline: it takes in the residual stream where the range does not begin
 * with the model, and gives it out where it does not end with it. Knows nothing of policy, text or time, nor of the
 * stages before and behind it. Owns its buffers and its device; `close` frees both.
 */
import { strict as assert } from 'node:assert'
import type { Batch } from '../engine/batch.ts'
import type { Runner, RunnerLimits, Sampled, StepResult } from '../engine/runner.ts'
import { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import { logProbsOf, type TokenLogProb } from '../kernels/log-probs.ts'
import type { Activation } from '../kernels/matrix.ts'
import { NOT_FINITE } from '../kernels/sample.ts'
import type { RowSet } from './model-recipe.ts'
import { readbackBytes, type OutputScratch, type Scratch } from './scratch.ts'
import type { StepWriter, WrittenStep } from './step-writer.ts'

export interface ModelOnGpu {
  readonly gpu: Gpu
  /** Every buffer of weights, cache and scratch. */
  readonly buffers: readonly Buffers[]
  readonly scratch: Scratch
  readonly writer: StepWriter
  readonly layers: Recipe<RowSet>
  /** Null in a stage that does not end with the model. */
  readonly output: OutputRecipes | null
  readonly expertsPerToken: number
  /** Whether the residual stream comes from the stage before, in place of token ids. */
  readonly takesHidden: boolean
}

export interface OutputRecipes {
  readonly logits: Recipe<RowSet>
  readonly sampler: Recipe<RowSet>
}

export interface StageResult extends StepResult {
  /** f32 [rows, hiddenSize]: the residual stream behind the last layer here; absent where the model ends here. */
  readonly hidden?: Float32Array
}

export class ModelRunner implements Runner {
  readonly limits: RunnerLimits
  readonly fingerprint: string
  /** Of the last step. */
  dispatchCount = 0
  readonly #model: ModelOnGpu
  readonly #staging: Buffers
  readonly #readback: Readback
  #isRunning = false

  constructor(model: ModelOnGpu, limits: RunnerLimits, fingerprint: string) {
    this.#model = model
    this.limits = limits
    this.fingerprint = fingerprint
    this.#staging = new Buffers(model.gpu, 'readback')
    this.#readback = new Readback(model.gpu, this.#staging, readbackBytes(model.scratch))
  }

  /** Of everything it owns on the GPU. */
  get allocatedBytes(): number {
    return [this.#staging, ...this.#model.buffers].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /**
   * All stages of a model take the same batch, each with the `hidden` of the one before: f32 [rows, hiddenSize], and
   * none for the first. Only the last samples and has logits; each has the experts of its own layers.
   */
  async run(batch: Batch, hidden?: Float32Array): Promise<StageResult> {
    assert(!this.#isRunning, 'A Runner runs one step at a time')
    this.#isRunning = true
    try {
      return await this.#run(batch, hidden)
    } finally {
      this.#isRunning = false
    }
  }

  close(): Promise<void> {
    this.#staging.close()
    for (const buffers of this.#model.buffers) buffers.close()
    this.#model.gpu.close()
    return Promise.resolve()
  }

  async #run(batch: Batch, hidden: Float32Array | undefined): Promise<StageResult> {
    const { gpu, writer, scratch, takesHidden, output } = this.#model
    gpu.check()
    assert(takesHidden === (hidden !== undefined), `This stage takes ${takesHidden ? 'a' : 'no'} residual stream`)
    if (batch.sequences.length === 0) return { sampled: [], ...(output === null ? { hidden: new Float32Array() } : {}) }
    const step = writer.write(batch)
    if (hidden !== undefined) writer.writeHidden(hidden, step.counts.all, scratch.x)
    const result = output === null ? await this.#runLayers(batch, step) : await this.#runAll(batch, step, output)
    return {
      ...result,
      ...(batch.capture?.experts === true ? { experts: await this.#captureExperts(step.counts.all) } : {}),
    }
  }

  /** The step of a stage that ends before the model does. */
  async #runLayers(batch: Batch, { counts }: WrittenStep): Promise<StageResult> {
    const { gpu, scratch, layers } = this.#model
    const encoder = gpu.device.createCommandEncoder({ label: 'step' })
    const pass = encoder.beginComputePass({ label: 'step' })
    this.dispatchCount = layers.encode(pass, counts)
    pass.end()
    const hidden = await this.#readRows(encoder, scratch.x, counts.all, 'a step')
    return { sampled: batch.sequences.map(() => null), hidden }
  }

  async #runAll(batch: Batch, step: WrittenStep, recipes: OutputRecipes): Promise<StageResult> {
    const { gpu, scratch, layers } = this.#model
    const { counts, sampledSequences } = step
    const output = outputOf(scratch)
    // With nothing to sample one word is read all the same: it tells that the step is done.
    const sampledBytes = counts.told > 0 ? output.sampled.bytes : 4 * Math.max(1, counts.picked)
    const encoder = gpu.device.createCommandEncoder({ label: 'step' })
    const pass = encoder.beginComputePass({ label: 'step' })
    this.dispatchCount = [layers, recipes.logits, recipes.sampler].reduce(
      (sum, recipe) => sum + recipe.encode(pass, counts),
      0,
    )
    pass.end()
    this.#readback.copy(encoder, output.sampled, sampledBytes)
    gpu.device.queue.submit([encoder.finish()])
    const tokens = new Uint32Array((await this.#readback.read(sampledBytes, 'a step')).buffer)
    const sampled: (Sampled | null)[] = batch.sequences.map(() => null)
    sampledSequences.forEach((sequence, i) => {
      const tokenId = tokens[i] ?? NOT_FINITE
      const logProbs = toldOf(tokens, i, output, batch.sequences[sequence]?.sampler?.logprobCount)
      sampled[sequence] = tokenId === NOT_FINITE ? { kind: 'not-finite' } : { kind: 'token', tokenId, ...logProbs }
    })
    if (batch.capture?.logits !== true) return { sampled }
    return { sampled, logits: await this.#captureLogits(counts, recipes.logits, output.logits) }
  }

  /** Logits of all rows of the step just run, a few rows at a time: the residual stream is still there. */
  async #captureLogits(
    counts: WrittenStep['counts'],
    recipe: Recipe<RowSet>,
    logits: Activation,
  ): Promise<Float32Array> {
    const rows = counts.all
    const { gpu, writer } = this.#model
    const all = new Float32Array(rows * logits.width)
    const pickedMax = this.limits.sequencesMax
    for (let start = 0; start < rows; start += pickedMax) {
      const count = Math.min(pickedMax, rows - start)
      writer.pick(Uint32Array.from({ length: count }, (_, i) => start + i))
      const encoder = gpu.device.createCommandEncoder({ label: 'logits' })
      const pass = encoder.beginComputePass({ label: 'logits' })
      recipe.encode(pass, { ...counts, picked: count })
      pass.end()
      all.set(await this.#readRows(encoder, logits, count, 'logits'), start * logits.width)
    }
    return all
  }

  async #captureExperts(rows: number): Promise<Int32Array> {
    const { gpu, scratch, expertsPerToken } = this.#model
    const perLayer = rows * expertsPerToken
    const all = new Int32Array(scratch.chosen.length * perLayer)
    for (const [layer, chosen] of scratch.chosen.entries()) {
      const encoder = gpu.device.createCommandEncoder({ label: 'experts' })
      this.#readback.copy(encoder, chosen, perLayer * 4)
      gpu.device.queue.submit([encoder.finish()])
      all.set(new Int32Array((await this.#readback.read(perLayer * 4, 'experts')).buffer), layer * perLayer)
    }
    return all
  }

  /** Submits what is encoded and brings back the first rows of an activation without their padding. */
  async #readRows(encoder: GPUCommandEncoder, from: Activation, rows: number, what: string): Promise<Float32Array> {
    const { slice, width, stride } = from
    this.#readback.copy(encoder, slice, rows * stride * 4)
    this.#model.gpu.device.queue.submit([encoder.finish()])
    const padded = new Float32Array((await this.#readback.read(rows * stride * 4, what)).buffer)
    if (stride === width) return padded
    const values = new Float32Array(rows * width)
    for (let row = 0; row < rows; row++) values.set(padded.subarray(row * stride, row * stride + width), row * width)
    return values
  }
}

/** Nothing for a sequence that did not ask. */
function toldOf(
  sampled: Uint32Array<ArrayBuffer>,
  index: number,
  { logits }: OutputScratch,
  count: number | undefined,
): { readonly logProbs?: readonly TokenLogProb[] } {
  if (count === undefined) return {}
  const pickedMax = Math.floor(logits.slice.bytes / (logits.stride * 4))
  return { logProbs: logProbsOf(sampled, index, pickedMax, Math.min(count, logits.width)) }
}

function outputOf({ output }: Scratch): OutputScratch {
  assert(output !== null, 'A stage with output recipes has their scratch')
  return output
}
