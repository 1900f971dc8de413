/**
 * The RowSource over a checkpoint folder: reads bounded chunks, makes row records of them in mapped memory, counts.
 *
 * A few chunks are read ahead while one is put together; host memory in use is those and the upload ring. Values that are
 * not finite are counted by tensor, not refused. Knows no layer; which rows go where is its caller's.
 */
import type { Gpu } from '../gpu/device.ts'
import { RING_BUFFER_BYTES, Uploader } from '../gpu/upload.ts'
import { bytesPerValue, isPlain, rowLayout, type WeightFormat } from '../kernels/matrix.ts'
import { CheckpointError } from './checkpoint-error.ts'
import type { Checkpoint } from './checkpoint.ts'
import { notFiniteCount, type FloatFormat } from './not-finite.ts'
import { recordRanges, writeRecords, type RecordParts, type StoredRange } from './row-records.ts'
import type { RowSource, RowTarget, StoredWeight } from './row-source.ts'
import { widened } from './widened.ts'

/** Chunks being read or waiting to be written, besides the one that `rows` holds: at most 64 MiB with it. */
const CHUNKS_AHEAD = 3
/** Of records: what one mapped buffer takes. */
const CHUNK_BYTES = RING_BUFFER_BYTES

export interface LoadProgress {
  /** As stored in the files. */
  readonly bytesDone: number
  readonly bytesTotal: number
  readonly elapsedMs: number
  /** Since loading began. */
  readonly bytesPerSecond: number
  /** At that rate; Infinity before the first byte. */
  readonly remainingMs: number
}

export interface CheckpointRowsOptions {
  /** Of the tensors that will be asked for. */
  readonly bytesTotal: number
  readonly onProgress?: (progress: LoadProgress) => void
}

/** What of a checkpoint it needs. */
export type TensorReader = Pick<Checkpoint, 'tensors' | 'read' | 'readInto'>

/** Throws CheckpointError and GpuError: of one chunk at the call that asked for it, at a later one, or at `close`. */
export class CheckpointRows implements RowSource {
  /** By tensor, how many of its values (or scales) so far were NaN or infinite. */
  readonly notFinite = new Map<string, number>()
  readonly #checkpoint: TensorReader
  readonly #uploader: Uploader
  readonly #options: CheckpointRowsOptions
  readonly #startedMs = performance.now()
  readonly #ahead: Promise<void>[] = []
  /** Buffers of chunks written: a new one for each would cost page faults and leave garbage. */
  readonly #free: ArrayBuffer[] = []
  #bytesDone = 0

  constructor(gpu: Gpu, checkpoint: TensorReader, options: CheckpointRowsOptions) {
    this.#checkpoint = checkpoint
    this.#uploader = new Uploader(gpu)
    this.#options = options
  }

  async rows(
    weight: StoredWeight,
    rowStart: number,
    rowCount: number,
    target: RowTarget,
    offset: number,
  ): Promise<void> {
    const { bytes } = rowLayout(weight.columnCount, weight.format)
    const rowsPerChunk = Math.max(1, Math.floor(CHUNK_BYTES / bytes))
    for (let done = 0; done < rowCount; done += rowsPerChunk) {
      const count = Math.min(rowsPerChunk, rowCount - done)
      if (this.#ahead.length > CHUNKS_AHEAD) await this.#ahead.shift()
      const parts = this.#read(weight, rowStart + done, count)
      const before = this.#ahead.at(-1)
      const written = this.#write(weight, rowStart + done, count, { parts, before, target, at: offset + done * bytes })
      // Seen when its turn comes to be shifted out, or by `close`.
      written.catch(() => {})
      this.#ahead.push(written)
    }
  }

  async vector(tensor: string): Promise<Float32Array> {
    const type = this.#checkpoint.tensors.get(tensor)?.type
    if (type !== 'f32' && type !== 'f16' && type !== 'bf16') {
      throw new CheckpointError(tensor, `expected f32, f16 or bf16, got ${type ?? 'no such tensor'}`)
    }
    const bytes = await this.#checkpoint.read(tensor)
    this.#count(tensor, bytes, type)
    this.#report()
    return widened(bytes, type)
  }

  async close(): Promise<void> {
    try {
      for (const written of this.#ahead.splice(0)) await written
    } finally {
      await this.#uploader.close()
    }
  }

  async #read(weight: StoredWeight, rowStart: number, rowCount: number): Promise<RecordParts> {
    const ranges = recordRanges(weight, rowStart, rowCount)
    const { values, scales, zeroPoints } = ranges
    const staging = this.#staging([values, scales, zeroPoints].reduce((sum, range) => sum + alignedBytes(range), 0))
    const read = async (tensor: string | null, range: StoredRange, at: number): Promise<Uint8Array<ArrayBuffer>> => {
      if (tensor === null) throw new RangeError(`${weight.name} names no tensor for a part of its format`)
      const bytes = new Uint8Array(staging, at, range.end - range.start)
      await this.#checkpoint.readInto(tensor, range.start, bytes)
      return bytes
    }
    const scaleStart = alignedBytes(values)
    const zeroStart = scaleStart + alignedBytes(scales)
    const [valueBytes, scaleBytes, zeroBytes] = await Promise.all([
      read(weight.values, values, 0),
      scales === null ? null : read(weight.scales, scales, scaleStart),
      zeroPoints === null ? null : read(weight.zeroPoints, zeroPoints, zeroStart),
    ])
    return { values: valueBytes, scales: scaleBytes, zeroPoints: zeroBytes }
  }

  #staging(bytes: number): ArrayBuffer {
    const free = this.#free.pop()
    return free !== undefined && free.byteLength >= bytes ? free : new ArrayBuffer(Math.max(CHUNK_BYTES, bytes))
  }

  /** One after the other, in the order asked for. */
  async #write(
    weight: StoredWeight,
    rowStart: number,
    rowCount: number,
    chunk: {
      readonly parts: Promise<RecordParts>
      readonly before: Promise<void> | undefined
      readonly target: RowTarget
      readonly at: number
    },
  ): Promise<void> {
    const { before, target, at } = chunk
    // Both: when the chunk before fails, this one's failure must not go unseen.
    const [parts] = await Promise.all([chunk.parts, before])
    this.#countAll(weight, rowStart, parts)
    const byteLength = rowCount * rowLayout(weight.columnCount, weight.format).bytes
    const write = (bytes: Uint8Array<ArrayBuffer>): void => writeRecords(bytes, weight, rowStart, rowCount, parts)
    if (target instanceof Uint8Array) write(target.subarray(at, at + byteLength))
    else await this.#uploader.fill(target.buffer, target.offset + at, byteLength, write)
    this.#free.push(parts.values.buffer)
  }

  #countAll(weight: StoredWeight, rowStart: number, parts: RecordParts): void {
    const { values, scales, columnCount, format, rowsPerScale } = weight
    this.#count(values, parts.values, floatFormat(format))
    if (!isPlain(format) && scales !== null && parts.scales !== null) {
      // Scales that these rows share with rows before them were counted there.
      const { groupCount } = rowLayout(columnCount, format)
      const counted = rowStart % rowsPerScale === 0 ? 0 : groupCount * bytesPerValue(format.scale)
      this.#count(scales, parts.scales.slice(counted), format.scale)
    }
    this.#bytesDone += parts.zeroPoints?.byteLength ?? 0
    this.#report()
  }

  #count(tensor: string, bytes: Uint8Array<ArrayBuffer>, format: FloatFormat | null): void {
    this.#bytesDone += bytes.byteLength
    const count = format === null ? 0 : notFiniteCount(bytes, format)
    if (count > 0) this.notFinite.set(tensor, (this.notFinite.get(tensor) ?? 0) + count)
  }

  #report(): void {
    const { bytesTotal, onProgress } = this.#options
    if (onProgress === undefined) return
    const elapsedMs = performance.now() - this.#startedMs
    const bytesDone = this.#bytesDone
    const bytesPerSecond = bytesDone / (elapsedMs / 1000)
    const remainingMs = bytesDone === 0 ? Infinity : (Math.max(0, bytesTotal - bytesDone) / bytesPerSecond) * 1000
    onProgress({ bytesDone, bytesTotal, elapsedMs, bytesPerSecond, remainingMs })
  }
}

/** Parts of a chunk start where typed arrays may. */
function alignedBytes(range: StoredRange | null): number {
  return range === null ? 0 : Math.ceil((range.end - range.start) / 16) * 16
}

/** Null for integers. */
function floatFormat(format: WeightFormat): FloatFormat | null {
  if (isPlain(format)) return format
  return format.kind === 'fp8' ? 'fp8' : null
}
