/** matmul: one activation row at a time against f64, in every stored format, at the edges of units, chunks and groups. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { matmulReference } from '../../gpu-worker/kernels/matmul.ref.ts'
import { matmul, matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
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
/** Units are 8 values, chunks 32; 128 and 96 are axk1-tiny's. */
const widths = [1, 7, 8, 9, 31, 32, 33, 96, 128, 255, 256, 257, 520]
/** Invocations are 4 rows of the matrix, workgroups 256. */
const heights = [1, 4, 5, 255, 256, 257]

describe.each(formats)('matmul of %s', (format) => {
  it.each(widths)('K = %i: within the rounding of the order contract, padding never read', async (k) => {
    for (const n of heights) {
      const w = rounded(seeded(n * k, 1), format)
      const x = seeded(2 * k, 2)
      const y = bench.result(2, n)
      await bench.run(matmulSingle({ x: bench.activation(x, k), matrix: bench.matrix(w, k, format), y }, 4, 99), 2)
      const got = await bench.read(y, 2)
      for (const row of [0, 1]) {
        const own = x.subarray(row * k, (row + 1) * k)
        const wanted = matmulReference(own, w)
        const size = matmulReference(own.map(Math.abs), w.map(Math.abs))
        expect(worstError(got.subarray(row * n, (row + 1) * n), wanted, size)).toBeLessThanOrEqual(dotBound(k))
      }
    }
  })

  it('a matrix in windows gives the same bits', async () => {
    const w = rounded(seeded(50 * 33, 3), format)
    const x = bench.activation(seeded(33, 4), 33)
    const [whole, split] = [bench.result(1, 50), bench.result(1, 50)]
    await bench.run(matmul({ x, matrix: bench.matrix(w, 33, format), y: whole }, 4), 1)
    await bench.run(matmul({ x, matrix: bench.matrix(w, 33, format, 7), y: split }, 4), 1)
    expect(bits(await bench.read(split, 1))).toEqual(bits(await bench.read(whole, 1)))
  })
})

it('a NaN or infinity in one row stays in that row', async () => {
  const x = seeded(2 * 16, 5)
  x[3] = NaN
  x[5] = Infinity
  const y = bench.result(2, 4)
  const matrix = bench.matrix(seeded(4 * 16, 6), 16, 'f32')
  await bench.run(matmulSingle({ x: bench.activation(x, 16), matrix, y }, 4, 99), 2)
  const got = await bench.read(y, 2)
  expect([...got.subarray(0, 4)].every(Number.isNaN)).toBe(true)
  expect([...got.subarray(4)].every(Number.isFinite)).toBe(true)
})

it('refuses shapes that do not fit and bindings that are too small', () => {
  const matrix = bench.matrix(seeded(4 * 16, 6), 16, 'f32')
  const x = bench.activation(seeded(15, 1), 15)
  expect(() => matmul({ x, matrix, y: bench.result(1, 4) }, 4)).toThrow(/do not fit/)
  const narrow = bench.activation(seeded(16, 1), 16)
  expect(() => matmul({ x: narrow, matrix, y: bench.result(4, 4) }, 8)).toThrow(/too small/)
})
