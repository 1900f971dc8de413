/** matmul-chunks: by a lane a chunk the same bits as one row at a time, in every format and at every edge. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { matmulChunks } from '../../gpu-worker/kernels/matmul-chunks.ts'
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
/** Every way to decode whole chunks, and groups that chunks do not keep to. */
const formats: readonly (readonly [name: string, format: WeightFormat])[] = [
  ['f32', 'f32'],
  ['bf16', 'bf16'],
  ['int4', int4],
  ['int4 with zero points', { ...int4, groupColumns: 64, scale: 'f16', hasZeroPoints: true }],
  ['int4 in groups across chunks', { ...int4, groupColumns: 36 }],
  ['int8', { ...int4, kind: 'int8' }],
  ['int8 in groups within chunks', { ...int4, kind: 'int8', groupColumns: 16, hasZeroPoints: true }],
  ['fp8', { ...int4, kind: 'fp8', groupColumns: 128, scale: 'f32' }],
]

/** Without what only adapters that keep denormals of f16 run. */
function forAnyAdapter(dispatches: readonly Dispatch[]): Dispatch[] {
  const own = dispatches.filter(({ halfDenormals }) => halfDenormals !== true)
  return own.map((each) => ({
    program: each.program,
    bindings: each.bindings,
    grid: (rows: number) => each.grid(rows),
  }))
}

/** Chunks are 32 columns; a workgroup has 16 to 256 lanes for them, and takes more in passes. */
const widths = [33, 512, 2048, 8224]

describe.each(formats)('matmul-chunks, %s', (_, format) => {
  it.each(widths)(
    'K = %i: the bits of matmul',
    async (k) => {
      const [n, rows] = [270, 2]
      const matrix = bench.stored(storedRows(n, k, format, 1), 145)
      const x = bench.activation(seeded(rows * k, 2), k)
      const [wanted, y] = [bench.result(rows, n), bench.result(rows, n)]
      await bench.run(matmulSingle({ x, matrix, y: wanted }, 4, Infinity), rows)
      const chunks = matmulChunks({ x, matrix, y }, 4, Infinity)
      for (const own of [chunks, forAnyAdapter(chunks)]) {
        await bench.run(own, rows)
        expect(bits(await bench.read(y, rows))).toEqual(bits(await bench.read(wanted, rows)))
      }
    },
    COMPILING_MS,
  )
})

it('a value that is NaN makes its own row NaN, and no other', async () => {
  const [n, k] = [40, 512]
  const stored = storedRows(n, k, { ...int4, kind: 'fp8', groupColumns: 128, scale: 'f32' }, 1)
  // A row is 512 values and 4 scales.
  stored.bytes[7 * (k + 16) + 300] = 0xff
  const x = bench.activation(seeded(k, 2), k)
  const y = bench.result(1, n)
  const chunks = matmulChunks({ x, matrix: bench.stored(stored), y }, 4, Infinity)
  for (const own of [chunks, forAnyAdapter(chunks)]) {
    await bench.run(own, 1)
    const values = [...(await bench.read(y, 1))]
    expect(values.map((value) => Number.isNaN(value))).toEqual(values.map((_, row) => row === 7))
  }
})
