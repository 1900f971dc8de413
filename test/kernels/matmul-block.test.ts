/** matmul-block: many rows by blocks have the bits of one row at a time, in every kind of format and at every edge. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { matmulBlock } from '../../gpu-worker/kernels/matmul-block.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import type { WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'
import { storedRows } from '../fixtures/stored-rows.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 120_000

const formats: readonly (readonly [name: string, format: WeightFormat])[] = [
  ['bf16', 'bf16'],
  ['f32', 'f32'],
  ['int4', { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }],
  ['int4 in groups across units', { kind: 'int4', groupColumns: 12, scale: 'f32', hasZeroPoints: true }],
  ['int8 with zero points', { kind: 'int8', groupColumns: 64, scale: 'f16', hasZeroPoints: true }],
  ['fp8', { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false }],
]

const steps = { rowsFrom: 1, rowsTo: 99, products: 'ordered' } as const

describe.each(formats)('matmul-block, %s', (_, format) => {
  /** Slabs are 16 columns, chunks 32; blocks 64 × 64 or 128 × 32; 150 rows lie in windows of 100 and 50. */
  it.each([
    [1, 1],
    [49, 70],
    [264, 9],
    [2048, 33],
  ])(
    'K = %i, %i rows: the bits of matmul',
    async (k, rows) => {
      const n = 150
      const rowsMax = Math.ceil(rows / 4) * 4
      const matrix = bench.stored(storedRows(n, k, format, 1), 100)
      const x = bench.activation(seeded(rows * k, 2), k)
      const wanted = bench.result(rows, n)
      await bench.run(matmulSingle({ x, matrix, y: wanted }, rowsMax, Infinity), rows)
      for (const rowsTogether of [32, 64] as const) {
        const y = bench.result(rows, n)
        await bench.run(matmulBlock({ x, matrix, y }, rowsMax, { ...steps, rowsTogether }), rows)
        expect(bits(await bench.read(y, rows))).toEqual(bits(await bench.read(wanted, rows)))
      }
    },
    COMPILING_MS,
  )
})

it.each([0x7f, 0xff])(
  'fp8: the NaN %i makes its row NaN, and no other',
  async (nan) => {
    const [n, k] = [3, 64]
    const rows = storedRows(n, k, { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false }, 1)
    rows.bytes[41] = nan
    const matrix = bench.stored(rows, n)
    const x = bench.activation(seeded(k, 2), k)
    const y = bench.result(1, n)
    await bench.run(matmulBlock({ x, matrix, y }, 4, { ...steps, rowsTogether: 64 }), 1)
    expect(Array.from(await bench.read(y, 1), Number.isNaN)).toEqual([true, false, false])
  },
  COMPILING_MS,
)
