/** matmul-lanes: by lanes that share activations the same bits as one row at a time, in every format. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { matmulLanes } from '../../gpu-worker/kernels/matmul-lanes.ts'
import type { MatmulOperands } from '../../gpu-worker/kernels/matmul-operands.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import { formatName, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'
import { quantizedFormats, storedRows } from '../fixtures/stored-rows.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const formats: readonly WeightFormat[] = ['f32', 'bf16', 'f16', ...quantizedFormats]
/** Rows of the matrix and K: four rows a lane, 32 and 64 a workgroup; units are 8 values, chunks 32; axk1-tiny's own. */
const sizes: readonly (readonly [n: number, k: number])[] = [
  [1, 1],
  [31, 7],
  [9, 33],
  [33, 255],
  [65, 257],
  [216, 128],
  [70, 520],
]
const rowsMax = 12

const variants: readonly [name: string, dispatches: (operands: MatmulOperands) => Dispatch[]][] = [
  ['four at a time', (operands) => matmulLanes(operands, rowsMax, { together: 4, rowsFrom: 1, rowsTo: 99 })],
  ['eight at a time', (operands) => matmulLanes(operands, rowsMax, { together: 8, rowsFrom: 1, rowsTo: 99 })],
]

describe.each(formats.map((format) => [formatName(format), format] as const))('%s', (_, format) => {
  it.each(sizes)('%i × %i: the bits of matmul, however many rows at a time', async (n, k) => {
    const matrix = bench.stored(storedRows(n, k, format, 1), 45)
    for (const rows of [1, 4, 5, 9]) {
      const x = bench.activation(seeded(rowsMax * k, rows), k)
      const wanted = bench.result(rowsMax, n)
      await bench.run(matmulSingle({ x, matrix, y: wanted }, rowsMax, Infinity), rows)
      const wantedBits = bits(await bench.read(wanted, rows))
      for (const [name, dispatches] of variants) {
        const y = bench.result(rowsMax, n)
        await bench.run(dispatches({ x, matrix, y }), rows)
        expect(bits(await bench.read(y, rows)), `${name}, ${rows} rows`).toEqual(wantedBits)
      }
    }
  })
})

it.each(variants)('%s: a NaN or infinity in one row stays in that row', async (_, dispatches) => {
  const x = seeded(8 * 16, 5)
  x[2 * 16 + 3] = NaN
  x[6 * 16 + 8] = Infinity
  const y = bench.result(rowsMax, 4)
  const padded = bench.activation(
    Float32Array.from({ length: rowsMax * 16 }, (__, i) => x[i] ?? 0),
    16,
  )
  await bench.run(dispatches({ x: padded, matrix: bench.matrix(seeded(64, 6), 16, 'f32'), y }), 8)
  const got = await bench.read(y, 8)
  const odd = [...got].map((value, i) => (Number.isFinite(value) ? -1 : Math.floor(i / 4))).filter((row) => row >= 0)
  expect([...new Set(odd)]).toEqual([2, 6])
})

it('refuses rows that its last group could not hold', () => {
  const matrix = bench.matrix(seeded(64, 6), 16, 'f32')
  const x = bench.activation(seeded(64, 1), 16)
  const rows = { together: 8, rowsFrom: 1, rowsTo: 9 } as const
  expect(() => matmulLanes({ x, matrix, y: bench.result(4, 4) }, 6, rows)).toThrow(/multiple of 4/)
})
