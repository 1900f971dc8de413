/**
 * What comes back of a step beside its samples: logits, experts, the residual stream.
 *
 * Reads what the step left in the activations, so all but `copySampled` wants the step to be the only one under way.
 * Knows nothing of batches.
 */
import type { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import type { Activation } from '../kernels/matrix.ts'
import type { RowSet } from './model-recipe.ts'
import { captureBytes, type Scratch } from './scratch.ts'
import type { StepWriter, WrittenStep } from './step-writer.ts'

export interface CapturedModel {
  readonly gpu: Gpu
  readonly scratch: Scratch
  readonly writer: StepWriter
  readonly expertsPerToken: number
}

export class Captures {
  readonly #model: CapturedModel
  readonly #staging: Buffers
  /** Rows whose logits are computed at a time. */
  readonly #pickedMax: number
  readonly #readback: Readback
  /** Of steps in flight, from the first time that someone asks. */
  readonly #sampledLogits: Readback[] = []

  /** The staging buffers belong to `staging`. */
  constructor(model: CapturedModel, staging: Buffers, pickedMax: number) {
    this.#model = model
    this.#staging = staging
    this.#pickedMax = pickedMax
    this.#readback = new Readback(model.gpu, staging, captureBytes(model.scratch))
  }

  /** Adds the way back of the first rows to a step whose turn it is on way `way`; gives what brings them. */
  copySampled(encoder: GPUCommandEncoder, way: number, logits: Activation, rows: number): () => Promise<Float32Array> {
    const readback = (this.#sampledLogits[way] ??= new Readback(this.#model.gpu, this.#staging, logits.slice.bytes))
    return copyRows(readback, encoder, logits, rows)
  }

  /** Submits what is encoded and brings back the first rows of an activation, f32 [rows, width]. */
  readRows(encoder: GPUCommandEncoder, from: Activation, rows: number): Promise<Float32Array> {
    const take = copyRows(this.#readback, encoder, from, rows)
    this.#model.gpu.device.queue.submit([encoder.finish()])
    return take()
  }

  /** Logits of all rows of the step just run, a few rows at a time: the residual stream is still there. */
  async allLogits(counts: WrittenStep['counts'], recipe: Recipe<RowSet>, logits: Activation): Promise<Float32Array> {
    const { gpu, writer } = this.#model
    const rows = counts.all
    const all = new Float32Array(rows * logits.width)
    for (let start = 0; start < rows; start += this.#pickedMax) {
      const count = Math.min(this.#pickedMax, rows - start)
      writer.pick(Uint32Array.from({ length: count }, (_, i) => start + i))
      const encoder = gpu.device.createCommandEncoder({ label: 'logits' })
      const pass = encoder.beginComputePass({ label: 'logits' })
      recipe.encode(pass, { ...counts, picked: count })
      pass.end()
      all.set(await this.readRows(encoder, logits, count), start * logits.width)
    }
    return all
  }

  /** i32 [expert layers, rows, expertsPerToken] of the step just run. */
  async experts(rows: number): Promise<Int32Array> {
    const { gpu, scratch, expertsPerToken } = this.#model
    const { chosen: layers, pairsPerRow } = scratch
    const all = new Int32Array(layers.length * rows * expertsPerToken)
    for (const [layer, chosen] of layers.entries()) {
      const encoder = gpu.device.createCommandEncoder({ label: 'experts' })
      this.#readback.copy(encoder, chosen, rows * pairsPerRow * 4)
      gpu.device.queue.submit([encoder.finish()])
      const pairs = new Int32Array((await this.#readback.read(rows * pairsPerRow * 4, 'experts')).buffer)
      for (let row = 0; row < rows; row++) {
        // Without the shared one, the last.
        const routed = pairs.subarray(row * pairsPerRow, row * pairsPerRow + expertsPerToken)
        all.set(routed, (layer * rows + row) * expertsPerToken)
      }
    }
    return all
  }
}

/** Adds the copy to what is encoded; once that is submitted, the function given brings the rows without their padding. */
function copyRows(
  readback: Readback,
  encoder: GPUCommandEncoder,
  { slice, width, stride }: Activation,
  rows: number,
): () => Promise<Float32Array> {
  const bytes = rows * stride * 4
  if (rows === 0) return () => Promise.resolve(new Float32Array())
  readback.copy(encoder, slice, bytes)
  return async () => {
    const padded = new Float32Array((await readback.read(bytes, 'a step')).buffer)
    if (stride === width) return padded
    const values = new Float32Array(rows * width)
    for (let row = 0; row < rows; row++) values.set(padded.subarray(row * stride, row * stride + width), row * width)
    return values
  }
}
