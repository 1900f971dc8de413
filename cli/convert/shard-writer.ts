/**
 * Writes one shard of a plan: reads bounded chunks of the source, quantises them on threads, puts the pieces in place.
 *
 * Chunks are the same whatever the threads, and their errors are added in order: two runs give the same bytes and the same
 * report. It does not know which shards there are, nor what was done before.
 */
import { join } from 'node:path'
import { bytesPerValue } from '../../gpu-worker/kernels/matrix.ts'
import type { Checkpoint } from '../../gpu-worker/model/checkpoint.ts'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { naming } from './failure-names.ts'
import { outputTensors, type ConversionStep, type ShardPlan } from './conversion-plan.ts'
import { groupCount, packedWords } from './group-quantizer.ts'
import { WorkInFlight } from './work-in-flight.ts'
import type { QuantizerPool } from './quantizer-pool.ts'
import { ShardFile } from './shard-file.ts'

/** Sums over the weights of one module. */
export interface ModuleError {
  readonly module: string
  /** Σ (w − ŵ)² */
  readonly errorSquares: number
  /** Σ w² */
  readonly valueSquares: number
}

export interface ShardTarget {
  readonly dir: string
  readonly pool: QuantizerPool
  /** Bytes of the source that are done with. */
  readonly onBytes: (bytes: number) => void
}

/** Bytes read at a time: 0.01 s of work for a thread, and with what becomes of them 4 MiB a thread. */
const CHUNK_BYTES = 1 << 20

/** Throws CheckpointError (the source), or the file system's error, named. */
export async function writeShard(source: Checkpoint, shard: ShardPlan, target: ShardTarget): Promise<ModuleError[]> {
  const file = await naming(`Cannot write ${shard.file}`, () =>
    ShardFile.create(join(target.dir, shard.file), shard.steps.flatMap(outputTensors)),
  )
  const inFlight = new WorkInFlight(target.pool.threadCount + 2)
  const errors: ModuleError[] = []
  try {
    const sums = []
    for (const step of shard.steps) {
      if (step.kind === 'copy') await copyTensor(source, step.tensor.name, file, inFlight, target)
      else sums.push({ module: step.module, chunks: await quantizeModule(source, step, file, inFlight, target) })
    }
    await inFlight.drain()
    for (const { module, chunks } of sums) errors.push({ module, ...total(chunks) })
  } catch (error) {
    await inFlight.settle()
    await file.abandon()
    throw error
  }
  await naming(`Cannot write ${shard.file}`, () => file.finish())
  return errors
}

async function copyTensor(
  source: Checkpoint,
  tensor: string,
  file: ShardFile,
  inFlight: WorkInFlight,
  { onBytes }: ShardTarget,
): Promise<void> {
  const byteLength = source.tensors.get(tensor)?.byteLength ?? 0
  for (let start = 0; start < byteLength; start += CHUNK_BYTES) {
    const bytes = await read(source, tensor, start, Math.min(byteLength, start + CHUNK_BYTES))
    const write = async (): Promise<void> => {
      await naming(`Cannot write ${tensor}`, () => file.write(tensor, start, bytes))
      onBytes(bytes.length)
    }
    await inFlight.add(write())
  }
}

type Sums = Omit<ModuleError, 'module'>

/** Starts the module's chunks; the sums returned are filled by the time all work is drained. */
async function quantizeModule(
  source: Checkpoint,
  { module, format, source: rows, packed, scale, shape }: ConversionStep & { readonly kind: 'quantize' },
  file: ShardFile,
  inFlight: WorkInFlight,
  { pool, onBytes }: ShardTarget,
): Promise<Sums[]> {
  const { tensor, type, rowStart, rowCount, columnCount } = rows
  const rowBytes = columnCount * bytesPerValue(type)
  const rowsPerChunk = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes))
  const sums: Sums[] = []
  for (let row = 0; row < rowCount; row += rowsPerChunk) {
    const start = (rowStart + row) * rowBytes
    const count = Math.min(rowsPerChunk, rowCount - row)
    const bytes = await read(source, tensor, start, start + count * rowBytes)
    const chunk = row / rowsPerChunk
    const quantize = async (): Promise<void> => {
      const result = await pool.quantize({ bytes, type, columnCount, format })
      if (result.kind === 'not-finite') {
        const place = `row ${rowStart + row + result.row}, column ${result.column}`
        throw new CheckpointError(tensor, `${place} is NaN or infinite: no scale can stand for it`)
      }
      sums[chunk] = { errorSquares: result.errorSquares, valueSquares: result.valueSquares }
      await naming(`Cannot write ${module}`, async () => {
        await file.write(packed.name, row * packedWords(columnCount, format) * 4, asBytes(result.packed))
        await file.write(scale.name, row * groupCount(columnCount, format) * 2, asBytes(result.scales))
      })
      onBytes(count * rowBytes)
    }
    await inFlight.add(quantize())
  }
  const sizes = BigInt64Array.of(BigInt(rowCount), BigInt(columnCount))
  await inFlight.add(naming(`Cannot write ${module}`, () => file.write(shape.name, 0, asBytes(sizes))))
  return sums
}

function total(chunks: readonly Sums[]): Sums {
  return {
    errorSquares: chunks.reduce((sum, chunk) => sum + chunk.errorSquares, 0),
    valueSquares: chunks.reduce((sum, chunk) => sum + chunk.valueSquares, 0),
  }
}

function asBytes({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function read(source: Checkpoint, tensor: string, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  return naming(`Cannot read ${tensor} of the source`, () => source.read(tensor, start, end))
}
