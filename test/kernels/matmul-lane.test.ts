/** matmul-lane: by lanes that share an activation row the same bits as by lanes that do not, in every format. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { matmulLane } from '../../gpu-worker/kernels/matmul-lane.ts'
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
/** Rows of the matrix and K: 64 rows a workgroup, eight lanes together, units of 8 values, chunks of 32. */
const sizes = [
  [1, 1],
  [63, 9],
  [8, 33],
  [65, 255],
  [216, 128],
  [9, 520],
] as const

describe.each(formats.map((format) => [formatName(format), format] as const))('%s', (_, format) => {
  it.each(sizes)('%i × %i: the bits of matmul', async (n, k) => {
    const matrix = bench.stored(storedRows(n, k, format, 1), 50)
    const x = bench.activation(seeded(2 * k, 2), k)
    const [wanted, y] = [bench.result(2, n), bench.result(2, n)]
    await bench.run(matmulSingle({ x, matrix, y: wanted }, 4, Infinity), 2)
    await bench.run(matmulLane({ x, matrix, y }, 4, Infinity), 2)
    expect(bits(await bench.read(y, 2))).toEqual(bits(await bench.read(wanted, 2)))
  })
})
