/**
 * Brings tensors from a checkpoint to the GPU as stored, in the layout of `kernels/matrix.ts`: rows padded, windows.
 *
 * Knows no layer; names and shapes come from `weights.ts`. Host memory in use is one chunk.
 */
import type { Buffers, Slice } from '../gpu/buffers.ts'
import type { Uploader } from '../gpu/upload.ts'
import { bytesPerValue, rowBytes, type Matrix, type PlainFormat } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { CheckpointError } from './checkpoint-error.ts'
import type { Checkpoint, TensorInfo } from './checkpoint.ts'
import { planWindows, type StackPart } from './placement.ts'

/** Bytes read at a time. */
const CHUNK_BYTES = 16 * 1024 * 1024

/** Rows [rowStart, rowStart + rowCount) of a tensor whose last axis is a row; all of it by default. */
export interface TensorRows {
  readonly tensor: string
  /** Rows of the whole tensor: the product of its leading axes. */
  readonly tensorRowCount: number
  readonly rowStart?: number
  readonly rowCount?: number
}

export class WeightLoader {
  readonly #checkpoint: Checkpoint
  readonly #buffers: Buffers
  readonly #uploader: Uploader
  readonly #onBytes: (bytes: number) => void

  constructor(checkpoint: Checkpoint, buffers: Buffers, uploader: Uploader, onBytes: (bytes: number) => void) {
    this.#checkpoint = checkpoint
    this.#buffers = buffers
    this.#uploader = uploader
    this.#onBytes = onBytes
  }

  get bindingBytesMax(): number {
    return this.#buffers.bindingBytesMax
  }

  has(tensor: string): boolean {
    return this.#checkpoint.tensors.has(tensor)
  }

  /** A matrix stacked from tensors of `columnCount` columns; a window keeps groups of `rowsTogether` rows whole. */
  async matrix(stack: readonly TensorRows[], columnCount: number, rowsTogether = 1): Promise<Matrix> {
    const parts = stack.map((rows) => this.#part(rows, columnCount))
    const plans = planWindows(parts, columnCount, rowsTogether, this.bindingBytesMax)
    const windows = []
    for (const plan of plans) {
      const bytes = plan.rowCount * rowBytes(columnCount, plan.format)
      const slice = this.#buffers.storage(plan.parts.map((part) => part.tensor).join('+'), bytes)
      let offset = 0
      for (const part of plan.parts) offset += await this.#upload(part, columnCount, slice, offset)
      windows.push({ slice, format: plan.format, rowStart: plan.rowStart, rowCount: plan.rowCount })
    }
    return { rowCount: parts.reduce((sum, part) => sum + part.rowCount, 0), columnCount, windows }
  }

  /** Rows of one tensor into a part of a buffer that someone else planned; returns their bytes there. */
  async rows(
    rows: TensorRows,
    columnCount: number,
    target: { readonly slice: Slice; readonly format: PlainFormat; readonly offset: number },
  ): Promise<number> {
    const part = this.#part(rows, columnCount)
    if (part.format !== target.format) {
      throw new CheckpointError(part.tensor, `expected ${target.format} like its layer, got ${part.format}`)
    }
    return this.#upload(part, columnCount, target.slice, target.offset)
  }

  async norm(tensor: string, width: number): Promise<NormWeight> {
    const format = this.format(tensor, [width])
    const slice = this.#buffers.storage(tensor, rowBytes(width, format))
    await this.#upload({ tensor, rowStart: 0, rowCount: 1, format }, width, slice, 0)
    return { slice, format, width }
  }

  /** f32 [width], widened exactly from whatever is stored; zeros when the checkpoint has no such tensor. */
  async f32(tensor: string, width: number): Promise<Slice> {
    const slice = this.#buffers.storage(tensor, width * 4)
    const values = new Float32Array(slice.bytes / 4)
    if (this.has(tensor)) {
      const format = this.format(tensor, [width])
      values.set(widened(await this.#checkpoint.read(tensor), format))
    }
    await this.#uploader.write(slice.buffer, 0, new Uint8Array(values.buffer))
    return slice
  }

  /** A table of our own making. */
  async table(name: string, values: Uint32Array<ArrayBuffer>): Promise<Slice> {
    const slice = this.#buffers.storage(name, values.byteLength)
    await this.#uploader.write(slice.buffer, 0, new Uint8Array(values.buffer))
    return slice
  }

  /** The stored type of a tensor that must have this shape. Throws CheckpointError. */
  format(tensor: string, shape: readonly number[]): PlainFormat {
    const info = this.#info(tensor)
    if (info.shape.join() !== shape.join()) {
      throw new CheckpointError(tensor, `expected shape [${shape.join(', ')}], got [${info.shape.join(', ')}]`)
    }
    if (info.type !== 'f32' && info.type !== 'f16' && info.type !== 'bf16') {
      throw new CheckpointError(tensor, `stored type ${info.type} is not supported yet: only f32, f16 and bf16`)
    }
    return info.type
  }

  #info(tensor: string): TensorInfo {
    const info = this.#checkpoint.tensors.get(tensor)
    if (info === undefined) throw new CheckpointError(tensor, 'the checkpoint has no such tensor')
    return info
  }

  #part(
    { tensor, tensorRowCount, rowStart = 0, rowCount = tensorRowCount }: TensorRows,
    columnCount: number,
  ): StackPart {
    const { shape } = this.#info(tensor)
    // Fused experts have a leading axis more; rows are counted through.
    const leading = shape.length === 3 ? [shape[0] ?? 0, tensorRowCount / (shape[0] ?? 1)] : [tensorRowCount]
    return { tensor, rowStart, rowCount, format: this.format(tensor, [...leading, columnCount]) }
  }

  async #upload(part: StackPart, columnCount: number, target: Slice, offset: number): Promise<number> {
    const storedRowBytes = columnCount * bytesPerValue(part.format)
    const paddedRowBytes = rowBytes(columnCount, part.format)
    const rowsPerChunk = Math.max(1, Math.floor(CHUNK_BYTES / paddedRowBytes))
    for (let done = 0; done < part.rowCount; done += rowsPerChunk) {
      const count = Math.min(rowsPerChunk, part.rowCount - done)
      const start = (part.rowStart + done) * storedRowBytes
      const stored = await this.#checkpoint.read(part.tensor, start, start + count * storedRowBytes)
      const padded = storedRowBytes === paddedRowBytes ? stored : padRows(stored, storedRowBytes, paddedRowBytes)
      await this.#uploader.write(target.buffer, target.offset + offset + done * paddedRowBytes, padded)
      this.#onBytes(stored.byteLength)
    }
    return part.rowCount * paddedRowBytes
  }
}

function padRows(stored: Uint8Array, storedRowBytes: number, paddedRowBytes: number): Uint8Array {
  const rowCount = stored.byteLength / storedRowBytes
  const padded = new Uint8Array(rowCount * paddedRowBytes)
  for (let row = 0; row < rowCount; row++) {
    padded.set(stored.subarray(row * storedRowBytes, (row + 1) * storedRowBytes), row * paddedRowBytes)
  }
  return padded
}

/** Exact: every f16 and bf16 is an f32. `bytes` starts a buffer of its own. */
export function widened(bytes: Uint8Array<ArrayBuffer>, format: PlainFormat): Float32Array {
  if (format === 'f32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
  if (format === 'f16') return Float32Array.from(halves, widenedF16)
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer)
}

/** IEEE binary16: 1 sign, 5 exponent, 10 fraction bits. */
function widenedF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
