/**
 * Products on the bench: Axle's, and beside them the kernels one would first write; every output checked in f64.
 *
 * A matrix is a block of rows over and over, so that the reference is small; nothing in the kernels can know.
 */
import { readFileSync } from 'node:fs'
import type { ProbeBench } from '../../cli/plan/probe-bench.ts'
import type { Slice } from '../../gpu-worker/gpu/buffers.ts'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { matmulRowsReference } from '../../gpu-worker/kernels/matmul-rows.ref.ts'
import { matmul } from '../../gpu-worker/kernels/matmul.ts'
import { formatName, paddedColumns, rowBytes, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { weightConstants, weightIncludes } from '../../gpu-worker/kernels/weight-shader.ts'
import { wgsl } from '../../gpu-worker/kernels/wgsl.ts'
import { seeded, worstError } from '../../test/fixtures/numbers.ts'
import { storedRows } from '../../test/fixtures/stored-rows.ts'

export interface ProductCase {
  readonly format: WeightFormat
  /** Of the matrix: a multiple of 32, and of 8. */
  readonly rowCount: number
  readonly columnCount: number
  /** Of activations. */
  readonly rows: number
  /** So many matrices of that size, a dispatch each, as a model's layers have them; absent: one. What is told is of one. */
  readonly layers?: number
  /** The kernel to hold it against, if any; of one matrix alone. */
  readonly naive?: 'gemv' | 'gemm'
}

export interface ProductTimes {
  readonly seconds: number
  readonly naiveSeconds: number | null
  readonly bytes: number
  readonly flops: number
}

/** Rows of the repeated block. */
const BLOCK_ROWS = 32
const ROUNDS = 3

export function productName({ format, rowCount, columnCount, rows, layers }: ProductCase): string {
  const size = `${formatName(format)}, ${rowCount} × ${columnCount}, ${rows} ${rows === 1 ? 'row' : 'rows'}`
  return layers === undefined ? size : `${size}, a dispatch each of ${layers}`
}

/** The best of a few rounds, ours and the naive kernel in turns. The bench is this product's alone. */
export async function timeProducts(bench: ProbeBench, product: ProductCase): Promise<ProductTimes> {
  const { format, columnCount, rows, layers = 1 } = product
  const rowCount = layers * product.rowCount
  const rowsMax = Math.ceil(rows / 4) * 4
  const block = storedRows(BLOCK_ROWS, columnCount, format, 1, 0.5)
  const weights = repeated(bench, block.bytes, rowCount / BLOCK_ROWS)
  const stride = paddedColumns(columnCount)
  const values = seeded(rows * columnCount, 2, 0.5)
  const x = { slice: bench.storage('x', rowsMax * stride * 4), width: columnCount, stride }
  const padded = new Float32Array(rowsMax * stride)
  for (let row = 0; row < rows; row++) {
    padded.set(values.subarray(row * columnCount, (row + 1) * columnCount), row * stride)
  }
  bench.write(x.slice, padded)
  const y = { slice: bench.storage('y', rowsMax * rowCount * 4), width: rowCount, stride: rowCount }
  const { y: wanted, size } = matmulRowsReference(values, block.values, columnCount)
  // Each of K products and sums rounds once, in whatever order.
  const bound = (columnCount + 1) * 2 ** -23
  const check = async (name: string): Promise<void> => {
    const got = new Float32Array(await bench.read(y.slice, rows * rowCount * 4))
    const isRight = Array.from({ length: rows }, (_, row) => row).every((row) => {
      const own = [row * BLOCK_ROWS, (row + 1) * BLOCK_ROWS] as const
      for (let n = 0; n < rowCount; n += BLOCK_ROWS) {
        const part = got.subarray(row * rowCount + n, row * rowCount + n + BLOCK_ROWS)
        if (!(worstError(part, wanted.subarray(...own), size.subarray(...own)) <= bound)) return false
      }
      return true
    })
    bench.check(`${name} ${productName(product)}`, isRight)
    bench.write(y.slice, new Float32Array(rows * rowCount).fill(NaN))
  }
  const windows = Array.from({ length: layers }, (_, layer) => {
    const bytes = weights.bytes / layers
    const slice = { buffer: weights.buffer, offset: layer * bytes, bytes }
    return { slice, format, rowStart: layer * product.rowCount, rowCount: product.rowCount }
  })
  const matrix = { rowCount, columnCount, windows }
  const ours = matmul({ x, matrix, y }, rowsMax)
  const naive = product.naive === undefined ? null : naiveDispatch(product, [x.slice, weights, y.slice])
  let [seconds, naiveSeconds] = [Infinity, Infinity]
  for (let round = 0; round < ROUNDS; round++) {
    seconds = Math.min(seconds, await bench.seconds(ours, rows))
    await check('product')
    if (naive === null) continue
    naiveSeconds = Math.min(naiveSeconds, await bench.seconds([naive], rows))
    await check('naive product')
  }
  return {
    seconds: seconds / layers,
    naiveSeconds: naive === null ? null : naiveSeconds,
    bytes: product.rowCount * rowBytes(columnCount, format) + rows * 4 * (columnCount + product.rowCount),
    flops: 2 * rows * product.rowCount * columnCount,
  }
}

/** `count` times these bytes, one after the other. */
export function repeated(bench: ProbeBench, bytes: Uint8Array<ArrayBuffer>, count: number): Slice {
  const slice = bench.storage('weights', count * bytes.byteLength)
  const together = largestDivisor(count, Math.floor(PIECE_BYTES / bytes.byteLength))
  const piece = new Uint8Array(together * bytes.byteLength)
  for (let i = 0; i < together; i++) piece.set(bytes, i * bytes.byteLength)
  bench.repeat(slice, piece)
  return slice
}

const PIECE_BYTES = 1 << 22

/** Of `count`, and at most `most`; at least 1. */
function largestDivisor(count: number, most: number): number {
  let divisor = Math.max(1, Math.min(count, most))
  while (count % divisor !== 0) divisor -= 1
  return divisor
}

function naiveDispatch({ format, rowCount, columnCount, naive }: ProductCase, bindings: readonly Slice[]): Dispatch {
  const text = readFileSync(new URL(`naive-${naive}.wgsl`, import.meta.url), 'utf8')
  const sizes = { K: columnCount, N: rowCount }
  const access = ['read', 'read', 'write'] as const
  if (naive === 'gemv') {
    return {
      program: { name: 'naive-gemv', source: text, access, constants: sizes },
      bindings,
      grid: (rows) => [Math.ceil(rowCount / 64), rows, 1],
    }
  }
  const includes = weightIncludes(columnCount, format).filter((name) => name !== 'dot')
  const decode = wgsl('include/dot', ...includes)
  return {
    program: {
      name: 'naive-gemm',
      source: `${decode}\n${text}`,
      access,
      constants: { ...sizes, ...weightConstants(columnCount, format) },
    },
    bindings,
    grid: (rows) => [Math.ceil(rowCount / 4 / 64), Math.ceil(rows / 4), 1],
  }
}
