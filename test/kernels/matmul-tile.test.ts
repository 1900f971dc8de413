/** matmul-tile: by whole workgroups the same bits as one row at a time, in every format and at every edge. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { matmulTile } from '../../gpu-worker/kernels/matmul-tile.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import type { WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import type { ColumnCount } from '../../gpu-worker/kernels/wgsl.ts'
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
/** Every way to decode whole vectors, and units beside several activation rows. */
const cases: readonly (readonly [name: string, format: WeightFormat, columns: ColumnCount])[] = [
  ['one row, f32', 'f32', 1],
  ['one row, bf16', 'bf16', 1],
  ['one row, f16', 'f16', 1],
  ['one row, int4', int4, 1],
  ['one row, int4 with zero points', { ...int4, groupColumns: 64, scale: 'f16', hasZeroPoints: true }, 1],
  ['one row, int4 in groups across vectors', { ...int4, groupColumns: 36 }, 1],
  ['one row, int8', { ...int4, kind: 'int8', groupColumns: 16, hasZeroPoints: true }, 1],
  ['one row, fp8', { ...int4, kind: 'fp8', groupColumns: 5000, scale: 'f32' }, 1],
  ['four rows', 'bf16', 4],
  ['eight rows', int4, 8],
]
/** Those for devices with subgroups or without, to be run whatever this one is: lavapipe has them, too narrow to gain by them. */
function forDevices(dispatches: readonly Dispatch[], wanted: boolean): Dispatch[] {
  const own = dispatches.filter(({ subgroups = wanted }) => subgroups === wanted)
  return own.map((dispatch) => ({
    program: dispatch.program,
    bindings: dispatch.bindings,
    grid: (rows) => dispatch.grid(rows),
  }))
}

/** Units are 8 values, packed vectors 4 to 32, chunks 32; a workgroup takes 8 chunks together. */
const widths = [1, 33, 255, 256, 264, 2048]

describe.each(cases)('matmul-tile, %s', (_, format, columns) => {
  it.each(widths)(
    'K = %i: the bits of matmul',
    async (k) => {
      const [n, rows] = [70, 9]
      const matrix = bench.stored(storedRows(n, k, format, 1), 45)
      const x = bench.activation(seeded(rows * k, 2), k)
      const wanted = bench.result(rows, n)
      await bench.run(matmulSingle({ x, matrix, y: wanted }, 12, Infinity), rows)
      for (const subgroups of [true, false]) {
        const y = bench.result(rows, n)
        const tiles = matmulTile({ x, matrix, y }, 12, { columns, rowsFrom: 1, rowsTo: 99 })
        await bench.run(forDevices(tiles, subgroups), rows)
        expect(bits(await bench.read(y, rows))).toEqual(bits(await bench.read(wanted, rows)))
      }
    },
    COMPILING_MS,
  )
})

it.each([2305, 9000])(
  'K = %i, more chunks than a workgroup takes at a time or not: the bits of matmul',
  async (k) => {
    const matrix = bench.stored(storedRows(33, k, int4, 1))
    const x = bench.activation(seeded(k, 2), k)
    const [wanted, y] = [bench.result(1, 33), bench.result(1, 33)]
    await bench.run(matmulSingle({ x, matrix, y: wanted }, 4, Infinity), 1)
    await bench.run(matmulTile({ x, matrix, y }, 4, { columns: 1, rowsFrom: 1, rowsTo: 1 }), 1)
    expect(bits(await bench.read(y, 1))).toEqual(bits(await bench.read(wanted, 1)))
  },
  COMPILING_MS,
)
