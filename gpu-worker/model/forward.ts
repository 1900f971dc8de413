/**
 * The Runner over a model on a GPU: one submit a step, one small upload, one readback of what was sampled.
 *
 * A whole model takes a step while another is in flight: the queue runs uploads, copies and passes in order, so that the
 * later step finds the earlier one's KV and samples, and may use the same activations; only the ways back are two.
 *
 * Over a range of the layers it is a stage of a pipeline: it takes in the residual stream where the range does not begin
 * with the model, and gives it out where it does not end with it. Where its experts take turns in slots, a step is several
 * submits, and the only one under way. Knows nothing of policy, text or time, nor of the stages before and behind it. Owns
 * its buffers and its device; `close` frees both.
 */
import { strict as assert } from 'node:assert'
import type { Batch, BlockId } from '../engine/batch.ts'
import type { Runner, RunnerLimits, Sampled, StepResult, TokenLogProb } from '../engine/runner.ts'
import type { CacheFigures, ExpertCache, TakingTurns } from '../experts/expert-cache.ts'
import { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import { blockBytes, type LatentPages } from '../kernels/latent-pages.ts'
import { logProbsOf } from '../kernels/log-probs.ts'
import { NOT_FINITE } from '../kernels/sample.ts'
import { Captures } from './captures.ts'
import type { RowSet } from './model-recipe.ts'
import { type OutputScratch, pickedMaxOf, type Scratch, STEPS_IN_FLIGHT_MAX } from './scratch.ts'
import { promptLogProbs } from './prompt-log-probs.ts'
import { StepCommands } from './step-commands.ts'
import { StoppingSteps } from './stopping-steps.ts'
import type { StepWriter, WrittenStep } from './step-writer.ts'

export interface ModelOnGpu {
  readonly gpu: Gpu
  /** Every buffer of weights, cache and scratch. */
  readonly buffers: readonly Buffers[]
  readonly scratch: Scratch
  /** One per layer of the range. */
  readonly pages: readonly LatentPages[]
  readonly writer: StepWriter
  readonly layers: Recipe<RowSet>
  /** Null in a stage that does not end with the model. */
  readonly output: OutputRecipes | null
  readonly expertsPerToken: number
  /** Of layers whose routed experts take turns; null: all are resident. */
  readonly takingTurns: { readonly cache: ExpertCache; readonly layers: readonly TakingTurns[] } | null
  /** Whether the residual stream comes from the stage before, in place of token ids. */
  readonly takesHidden: boolean
  /** Where the model is whole: steps that may be under way at once. */
  readonly stepsInFlight: 1 | 2
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
  /** Names of the kernels that the step given last dispatches, in order. */
  kernels: readonly string[] = []
  readonly #model: ModelOnGpu
  readonly #staging: Buffers
  readonly #captures: Captures
  readonly #commands: StepCommands
  /** In place of `#commands` where experts take turns. */
  readonly #stopping: StoppingSteps | null
  /** Of what steps sample, in turn. */
  readonly #samples: readonly Readback[]
  #stepCount = 0
  #placesTaken = 0

  constructor(model: ModelOnGpu, limits: RunnerLimits, fingerprint: string) {
    const { gpu, scratch, takesHidden, takingTurns } = model
    const output = takesHidden || takingTurns !== null ? null : scratch.output
    this.#model = model
    this.limits = { ...limits, stepsInFlightMax: output === null ? 1 : model.stepsInFlight }
    this.fingerprint = fingerprint
    this.#staging = new Buffers(gpu, 'readback')
    this.#captures = new Captures(model, this.#staging, limits.sequencesMax)
    const recipes = model.output === null ? [] : [model.output.logits, model.output.sampler]
    this.#commands = new StepCommands(gpu, [model.layers, ...recipes])
    const { chosen, pairsPerRow } = scratch
    this.#stopping =
      takingTurns === null
        ? null
        : new StoppingSteps({ gpu, chosen, pairsPerRow, ...takingTurns }, [model.layers, ...recipes], this.#staging)
    const sampledBytes = scratch.output?.sampled.bytes
    const ways = sampledBytes === undefined ? [] : Array.from({ length: STEPS_IN_FLIGHT_MAX }, () => sampledBytes)
    this.#samples = ways.map((bytes) => new Readback(gpu, this.#staging, bytes))
  }

  /** Of the step given last. */
  get dispatchCount(): number {
    return this.kernels.length
  }

  /** Of everything it owns on the GPU. */
  get allocatedBytes(): number {
    return [this.#staging, ...this.#model.buffers].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Of experts that take turns; null where all are resident. */
  get cacheFigures(): CacheFigures | null {
    return this.#model.takingTurns?.cache.figures ?? null
  }

  /**
   * All stages of a model take the same batch, each with the `hidden` of the one before: f32 [rows, hiddenSize], and
   * none for the first. Only the last samples and has logits; each has the experts of its own layers.
   */
  async run(batch: Batch, hidden?: Float32Array): Promise<StageResult> {
    // A step that is alone takes all places.
    const isAlone = this.limits.stepsInFlightMax === 1 || runsAlone(batch)
    const places = isAlone ? STEPS_IN_FLIGHT_MAX : 1
    assert(
      this.#placesTaken + places <= STEPS_IN_FLIGHT_MAX,
      'Steps under way: at most two, and one that runs alone is the only one',
    )
    this.#placesTaken += places
    try {
      return await this.#run(batch, hidden)
    } finally {
      this.#placesTaken -= places
    }
  }

  /**
   * Writes one value over whole KV blocks, in all layers: behind the steps given before, ahead of those given after. For
   * tests of who reads what.
   */
  fillBlocks(blocks: readonly BlockId[], value: number): void {
    const { gpu, pages } = this.#model
    for (const { slice, shape, format } of pages) {
      const bytes = blockBytes(shape, format)
      const values = format === 'f32' ? new Float32Array(bytes / 4) : new Float16Array(bytes / 2)
      values.fill(value)
      // As plain bytes: Dawn's binding dies of a Float16Array.
      const data = new Uint8Array(values.buffer)
      for (const block of blocks) gpu.device.queue.writeBuffer(slice.buffer, slice.offset + block * bytes, data)
    }
  }

  close(): Promise<void> {
    this.#staging.close()
    this.#model.takingTurns?.cache.close()
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
      ...(batch.capture?.experts === true ? { experts: await this.#captures.experts(step.counts.all) } : {}),
    }
  }

  /** The step's pass, and what comes behind it. Null where it was submitted at once. */
  #submit(counts: WrittenStep['counts'], ...behind: GPUCommandBuffer[]): Promise<void> | null {
    if (this.#stopping !== null) return this.#submitStopping(this.#stopping, counts, behind)
    const { commands, kernels } = this.#commands.take(counts)
    this.kernels = kernels
    this.#model.gpu.device.queue.submit([commands, ...behind])
    return null
  }

  async #submitStopping(
    steps: StoppingSteps,
    counts: WrittenStep['counts'],
    behind: readonly GPUCommandBuffer[],
  ): Promise<void> {
    this.kernels = await steps.submit(counts, behind)
  }

  /** The step of a stage that ends before the model does. */
  async #runLayers(batch: Batch, { counts }: WrittenStep): Promise<StageResult> {
    const { gpu, scratch } = this.#model
    await this.#submit(counts)
    const encoder = gpu.device.createCommandEncoder({ label: 'hidden' })
    const hidden = await this.#captures.readRows(encoder, scratch.x, counts.all)
    return { sampled: batch.sequences.map(() => null), hidden }
  }

  async #runAll(batch: Batch, step: WrittenStep, recipes: OutputRecipes): Promise<StageResult> {
    const { gpu, scratch, writer } = this.#model
    const { counts, sampledSequences } = step
    const output = outputOf(scratch)
    // With nothing to sample one word is read all the same: it tells that the step is done.
    const sampledBytes = counts.told > 0 ? output.sampled.bytes : 4 * Math.max(1, counts.picked)
    const encoder = gpu.device.createCommandEncoder({ label: 'way back' })
    const way = (this.#stepCount += 1) % this.#samples.length
    const samples = this.#samples[way]
    assert(samples !== undefined, 'A model that samples has a way back for it')
    samples.copy(encoder, output.sampled, sampledBytes)
    const takeLogits =
      batch.capture?.logits === 'sampled'
        ? this.#captures.copySampled(encoder, way, output.logits, counts.picked)
        : undefined
    const submitted = this.#submit(counts, encoder.finish())
    // A step given while this one runs must find it submitted: no turn is lost where there is nothing to wait for.
    if (submitted !== null) await submitted
    const coming = Promise.all([samples.read(sampledBytes, 'a step'), takeLogits?.()])
    // Where steps overlap, the next one is encoded while this one runs anyway.
    if (this.limits.stepsInFlightMax === 1 && this.#stopping === null) this.#commands.prepare(counts)
    const [words, logits] = await coming
    const tokens = new Uint32Array(words.buffer)
    const sampled: (Sampled | null)[] = batch.sequences.map(() => null)
    sampledSequences.forEach((sequence, i) => {
      const tokenId = tokens[i] ?? NOT_FINITE
      const logProbs = toldOf(tokens, i, output, batch.sequences[sequence]?.sampler?.logprobCount)
      sampled[sequence] = tokenId === NOT_FINITE ? { kind: 'not-finite' } : { kind: 'token', tokenId, ...logProbs }
    })
    const teller = { gpu, writer, output, recipes, readback: samples }
    const told = await promptLogProbs(teller, batch, counts)
    const wantsAll = batch.capture?.logits === 'all'
    const captured = wantsAll ? await this.#captures.allLogits(counts, recipes.logits, output.logits) : logits
    return { sampled, ...told, ...(captured === undefined ? {} : { logits: captured }) }
  }
}

/** What it reads back is computed by further passes, or brought by a staging buffer of which there is one. */
function runsAlone({ capture, sequences }: Batch): boolean {
  const isCaptured = capture !== undefined && (capture.logits === 'all' || capture.experts)
  return isCaptured || sequences.some(({ promptLogprobs }) => promptLogprobs !== undefined)
}

/** Nothing for a sequence that did not ask. */
function toldOf(
  sampled: Uint32Array<ArrayBuffer>,
  index: number,
  output: OutputScratch,
  count: number | undefined,
): { readonly logProbs?: readonly TokenLogProb[] } {
  if (count === undefined) return {}
  return { logProbs: logProbsOf(sampled, index, pickedMaxOf(output), Math.min(count, output.logits.width)) }
}

function outputOf({ output }: Scratch): OutputScratch {
  assert(output !== null, 'A stage with output recipes has their scratch')
  return output
}
