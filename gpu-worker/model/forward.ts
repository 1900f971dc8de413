/**
 * The Runner over a model on a GPU: one submit a step, one small upload, one readback of what was sampled.
 *
 * Knows nothing of policy, text or time. Owns its buffers and its device; `close` frees both.
 */
import { strict as assert } from 'node:assert'
import type { Batch } from '../engine/batch.ts'
import type { Runner, RunnerLimits, Sampled, StepResult } from '../engine/runner.ts'
import { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import { NOT_FINITE } from '../kernels/sample.ts'
import type { RowSet } from './model-recipe.ts'
import type { Scratch } from './scratch.ts'
import type { StepWriter } from './step-writer.ts'

export interface ModelOnGpu {
  readonly gpu: Gpu
  /** Every buffer of weights, cache and scratch. */
  readonly buffers: readonly Buffers[]
  readonly scratch: Scratch
  readonly writer: StepWriter
  readonly layers: Recipe<RowSet>
  readonly logits: Recipe<RowSet>
  readonly sampler: Recipe<RowSet>
  readonly expertsPerToken: number
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
    const { scratch } = model
    const largest = Math.max(scratch.sampled.bytes, scratch.logits.slice.bytes, scratch.chosen[0]?.bytes ?? 0)
    this.#readback = new Readback(model.gpu, this.#staging, largest)
  }

  async run(batch: Batch): Promise<StepResult> {
    assert(!this.#isRunning, 'A Runner runs one step at a time')
    this.#isRunning = true
    try {
      return await this.#run(batch)
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

  async #run(batch: Batch): Promise<StepResult> {
    const { gpu, writer, scratch, layers, logits, sampler } = this.#model
    gpu.check()
    if (batch.sequences.length === 0) return { sampled: [] }
    const { rows, sampledSequences } = writer.write(batch)
    const counts = { all: rows, picked: sampledSequences.length }
    // With nothing to sample one word is read all the same: it tells that the step is done.
    const sampledBytes = 4 * Math.max(1, counts.picked)
    const encoder = gpu.device.createCommandEncoder({ label: 'step' })
    const pass = encoder.beginComputePass({ label: 'step' })
    this.dispatchCount = layers.encode(pass, counts) + logits.encode(pass, counts) + sampler.encode(pass, counts)
    pass.end()
    this.#readback.copy(encoder, scratch.sampled, sampledBytes)
    gpu.device.queue.submit([encoder.finish()])
    const tokens = new Uint32Array((await this.#readback.read(sampledBytes, 'a step')).buffer)
    const sampled: (Sampled | null)[] = batch.sequences.map(() => null)
    sampledSequences.forEach((sequence, i) => {
      const tokenId = tokens[i] ?? NOT_FINITE
      sampled[sequence] = tokenId === NOT_FINITE ? { kind: 'not-finite' } : { kind: 'token', tokenId }
    })
    return {
      sampled,
      ...(batch.capture?.logits === true ? { logits: await this.#captureLogits(rows) } : {}),
      ...(batch.capture?.experts === true ? { experts: await this.#captureExperts(rows) } : {}),
    }
  }

  /** Logits of all rows of the step just run, a few rows at a time: the residual stream is still there. */
  async #captureLogits(rows: number): Promise<Float32Array> {
    const { gpu, writer, scratch, logits } = this.#model
    const { width, stride, slice } = scratch.logits
    const all = new Float32Array(rows * width)
    const pickedMax = this.limits.sequencesMax
    for (let start = 0; start < rows; start += pickedMax) {
      const count = Math.min(pickedMax, rows - start)
      writer.pick(Uint32Array.from({ length: count }, (_, i) => start + i))
      const encoder = gpu.device.createCommandEncoder({ label: 'logits' })
      const pass = encoder.beginComputePass({ label: 'logits' })
      logits.encode(pass, { all: rows, picked: count })
      pass.end()
      this.#readback.copy(encoder, slice, count * stride * 4)
      gpu.device.queue.submit([encoder.finish()])
      const values = new Float32Array((await this.#readback.read(count * stride * 4, 'logits')).buffer)
      for (let i = 0; i < count; i++) all.set(values.subarray(i * stride, i * stride + width), (start + i) * width)
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
}
