/** matmul-rows: rows together give the bits that each gives alone, and those are right. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { matmulRowsReference } from '../../gpu-worker/kernels/matmul-rows.ref.ts'
import { matmulRows } from '../../gpu-worker/kernels/matmul-rows.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, dotBound, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded, type StoredFormat } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const formats: readonly StoredFormat[] = ['f32', 'bf16', 'f16']
/** Groups of four rows, eight values a unit, 32 a chunk, 256 matrix rows a workgroup. */
const rowCounts = [1, 3, 4, 5, 8, 9]
const widths = [1, 7, 8, 9, 31, 32, 33, 128, 255, 256, 257, 520]

describe.each(formats)('matmul-rows of %s', (format) => {
  it.each(widths)('K = %i: every row has the bits of matmul, within the rounding of the order contract', async (k) => {
    const n = 300
    const w = rounded(seeded(n * k, 1), format)
    const matrix = bench.matrix(w, k, format, 257)
    for (const rows of rowCounts) {
      const dense = seeded(rows * k, rows)
      const x = bench.activation(dense, k)
      const [single, together] = [bench.result(rows, n), bench.result(rows, n)]
      const rowsMax = Math.ceil(rows / 4) * 4
      await bench.run(matmulSingle({ x, matrix, y: single }, rowsMax, 99), rows)
      await bench.run(matmulRows({ x, matrix, y: together }, rowsMax, 1), rows)
      const got = await bench.read(together, rows)
      expect(bits(got)).toEqual(bits(await bench.read(single, rows)))
      const { y, size } = matmulRowsReference(dense, w, k)
      expect(worstError(got, y, size)).toBeLessThanOrEqual(dotBound(k))
    }
  })
})

it('a NaN in one row stays in that row of the group', async () => {
  const x = seeded(4 * 16, 5)
  x[2 * 16 + 3] = NaN
  const y = bench.result(4, 4)
  await bench.run(
    matmulRows({ x: bench.activation(x, 16), matrix: bench.matrix(seeded(64, 6), 16, 'f32'), y }, 4, 1),
    4,
  )
  const got = await bench.read(y, 4)
  expect([...got].map(Number.isNaN)).toEqual(Array.from({ length: 16 }, (_, i) => Math.floor(i / 4) === 2))
})
