/**
 * Memory for weights as it is handed out, and the list of what it must be filled with.
 *
 * Allocation is one thing and filling another: everything is allocated, or refused, before the first byte is read, and
 * on counted memory nothing is ever filled. Knows no layer.
 */
import type { Slice, Storage } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { rowBytes, type Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import type { MatrixLayout, MatrixPart, VectorLayout } from './layout.ts'
import { planWindows } from './placement.ts'
import type { RowSource } from './row-source.ts'

type Fill =
  | { readonly kind: 'rows'; readonly part: MatrixPart; readonly target: Slice; readonly offset: number }
  | { readonly kind: 'vector'; readonly tensor: string; readonly width: number; readonly target: Slice }
  | { readonly kind: 'values'; readonly values: Float32Array | Uint32Array; readonly target: Slice }

export class WeightBuffers {
  readonly #memory: Storage
  readonly #fills: Fill[] = []

  constructor(memory: Storage) {
    this.#memory = memory
  }

  /** Brings everything that was asked for, in the order asked. The source stays its owner's to close. */
  async fillFrom(gpu: Gpu, source: RowSource): Promise<void> {
    for (const fill of this.#fills.splice(0)) {
      const { target } = fill
      if (fill.kind === 'rows') {
        const { weight, rowStart, rowCount } = fill.part
        await source.rows(weight, rowStart, rowCount, target, fill.offset)
      } else write(gpu, target, fill.kind === 'vector' ? await source.vector(fill.tensor, fill.width) : fill.values)
    }
  }

  matrix({ rowCount, columnCount, rowsTogether, parts }: MatrixLayout): Matrix {
    const plans = planWindows({ parts, columnCount, rowsTogether }, this.#memory.bindingBytesMax)
    const windows = plans.map((plan) => {
      const bytesPerRow = rowBytes(columnCount, plan.format)
      const slice = this.allocate(plan.parts.map(({ weight }) => weight.name).join('+'), plan.rowCount * bytesPerRow)
      let row = 0
      for (const part of plan.parts) {
        this.request(part, slice, row * bytesPerRow)
        row += part.rowCount
      }
      return { slice, format: plan.format, rowStart: plan.rowStart, rowCount: plan.rowCount }
    })
    return { rowCount, columnCount, windows }
  }

  norm(vector: VectorLayout): NormWeight {
    return { slice: this.vector(vector.tensor, vector, vector.width), width: vector.width }
  }

  /** f32 [width], widened exactly from whatever is stored; zeros for null. */
  vector(name: string, vector: VectorLayout | null, width: number): Slice {
    const slice = this.allocate(name, width * 4)
    this.#fills.push(
      vector === null
        ? { kind: 'values', values: new Float32Array(width), target: slice }
        : { kind: 'vector', tensor: vector.tensor, width, target: slice },
    )
    return slice
  }

  /** A table of our own making. */
  table(name: string, values: Uint32Array<ArrayBuffer>): Slice {
    const slice = this.allocate(name, values.byteLength)
    this.#fills.push({ kind: 'values', values, target: slice })
    return slice
  }

  allocate(name: string, bytes: number): Slice {
    return this.#memory.storage(name, bytes)
  }

  /** Asks for rows, from `offset` bytes into `target`. */
  request(part: MatrixPart, target: Slice, offset: number): void {
    this.#fills.push({ kind: 'rows', part, target, offset })
  }
}

/** A few bytes, and zeros behind them. */
function write(gpu: Gpu, { buffer, offset, bytes }: Slice, values: Float32Array | Uint32Array): void {
  const whole = new Uint8Array(bytes)
  whole.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  gpu.device.queue.writeBuffer(buffer, offset, whole)
}
