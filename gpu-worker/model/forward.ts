/**
 * The Runner over a model on a GPU: one submit a step, one small upload, one readback of what was sampled.
 *
 * A whole model takes a step while another is in flight: the queue runs uploads, copies and passes in order, so that the
 * later step finds the earlier one's KV and samples, and may use the same activations; only the ways back are two.
 *
 * Over a range of the layers it is a stage of a pipeline: it takes in the residual stream where the range does not begin
 * with the model, and gives it out where it does not end with it. Knows nothing of policy, text or time, nor of the
 * stages before and behind it. Owns its buffers and its device; `close` frees both.
 */
import { strict as assert } from 'node:assert'
import type { Batch } from '../engine/batch.ts'
import type { Runner, RunnerLimits, Sampled, StepResult } from '../engine/runner.ts'
import { Buffers, type Slice } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import { logProbsOf, type TokenLogProb } from '../kernels/log-probs.ts'
import type { Activation } from '../kernels/matrix.ts'
import { NOT_FINITE } from '../kernels/sample.ts'
import { ROW_RECORD_BYTES } from '../kernels/step-input.ts'
import type { RowSet } from './model-recipe.ts'
import { captureBytes, type OutputScratch, type Scratch, STEPS_IN_FLIGHT_MAX } from './scratch.ts'
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
  /** Of steps that run alone. */
  readonly #readback: Readback
  /** Of what steps sample, in turn. */
  readonly #samples: readonly Readback[]
  #stepCount = 0
  #placesTaken = 0
  /** Of the step given last: which of its sequences are sampled, in the order of the GPU's `sampled`. */
  #lastSampled: readonly number[] = []

  constructor(model: ModelOnGpu, limits: RunnerLimits, fingerprint: string) {
    const { gpu, scratch, takesHidden } = model
    const output = takesHidden ? null : scratch.output
    this.#model = model
    this.limits = output === null ? limits : { ...limits, stepsInFlightMax: STEPS_IN_FLIGHT_MAX }
    this.fingerprint = fingerprint
    this.#staging = new Buffers(gpu, 'readback')
    this.#readback = new Readback(gpu, this.#staging, captureBytes(scratch))
    const sampledBytes = scratch.output?.sampled.bytes
    const ways = sampledBytes === undefined ? [] : Array.from({ length: STEPS_IN_FLIGHT_MAX }, () => sampledBytes)
    this.#samples = ways.map((bytes) => new Readback(gpu, this.#staging, bytes))
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
    // A step that is alone takes all places.
    const isAlone = this.limits.stepsInFlightMax === undefined || batch.capture !== undefined
    const places = isAlone ? STEPS_IN_FLIGHT_MAX : 1
    assert(
      this.#placesTaken + places <= STEPS_IN_FLIGHT_MAX,
      'A Runner runs one step at a time, or two without captures',
    )
    this.#placesTaken += places
    try {
      return await this.#run(batch, hidden)
    } finally {
      this.#placesTaken -= places
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
    this.#feed(encoder, batch, output.sampled)
    this.#lastSampled = sampledSequences
    const pass = encoder.beginComputePass({ label: 'step' })
    this.dispatchCount = [layers, recipes.logits, recipes.sampler].reduce(
      (sum, recipe) => sum + recipe.encode(pass, counts),
      0,
    )
    pass.end()
    const samples = this.#samples[(this.#stepCount += 1) % this.#samples.length] ?? this.#readback
    samples.copy(encoder, output.sampled, sampledBytes)
    gpu.device.queue.submit([encoder.finish()])
    const tokens = new Uint32Array((await samples.read(sampledBytes, 'a step')).buffer)
    const sampled: (Sampled | null)[] = batch.sequences.map(() => null)
    sampledSequences.forEach((sequence, i) => {
      const tokenId = tokens[i] ?? NOT_FINITE
      const logProbs = toldOf(tokens, i, output, batch.sequences[sequence]?.sampler?.logprobCount)
      sampled[sequence] = tokenId === NOT_FINITE ? { kind: 'not-finite' } : { kind: 'token', tokenId, ...logProbs }
    })
    if (batch.capture?.logits !== true) return { sampled }
    return { sampled, logits: await this.#captureLogits(counts, recipes.logits, output.logits) }
  }

  /**
   * Puts what the step before sampled where this step's rows have their token ids. Where logits were not finite that is
   * no token: no window of the embedding has it, and what the row computes is nobody's.
   */
  #feed(encoder: GPUCommandEncoder, { sequences }: Batch, sampled: Slice): void {
    const { rows } = this.#model.scratch.step
    let row = 0
    for (const { tokenIds, fedFrom } of sequences) {
      if (fedFrom !== undefined) {
        const index = this.#lastSampled.indexOf(fedFrom)
        assert(index >= 0 && tokenIds.length === 1, 'A sequence is fed one token that the step before samples')
        const target = rows.offset + row * ROW_RECORD_BYTES
        encoder.copyBufferToBuffer(sampled.buffer, sampled.offset + index * 4, rows.buffer, target, 4)
      }
      row += tokenIds.length
    }
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
