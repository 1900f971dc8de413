/** matmul-panel: a panel of 32 weight rows has the bits of one row at a time, in every format and at every edge. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { matmulPanel } from '../../gpu-worker/kernels/matmul-panel.ts'
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

const int4 = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false } as const
/** Every way to fetch a piece, and each number of pieces a chunk. */
const cases: readonly (readonly [name: string, format: WeightFormat])[] = [
  ['f32', 'f32'],
  ['bf16', 'bf16'],
  ['int4', int4],
  ['int4 in groups across vectors', { ...int4, groupColumns: 36, hasZeroPoints: true }],
  ['int8 with zero points', { ...int4, kind: 'int8', groupColumns: 16, scale: 'f16', hasZeroPoints: true }],
  ['fp8', { ...int4, kind: 'fp8', groupColumns: 128, scale: 'f32' }],
]

/** Chunks are 32 columns; a workgroup takes 16 together. */
const widths = [1, 33, 257, 512, 1100]

describe.each(cases)('matmul-panel, %s', (_, format) => {
  it.each(widths)(
    'K = %i: the bits of matmul, whether workgroups take two rows, four or eight',
    async (k) => {
      const [n, rows] = [70, 11]
      const matrix = bench.stored(storedRows(n, k, format, 1), 45)
      const x = bench.activation(seeded(rows * k, 2), k)
      const wanted = bench.result(rows, n)
      await bench.run(matmulSingle({ x, matrix, y: wanted }, 12, Infinity), rows)
      for (const rowsTogether of [2, 4, 8] as const) {
        const y = bench.result(rows, n)
        await bench.run(matmulPanel({ x, matrix, y }, 12, { rowsTogether, rowsFrom: 1, rowsTo: 99 }), rows)
        expect(bits(await bench.read(y, rows))).toEqual(bits(await bench.read(wanted, rows)))
      }
    },
    COMPILING_MS,
  )
})
