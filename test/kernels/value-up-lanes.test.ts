/** value-up-lanes: several rows together by the bits of one row at a time, whole heads in any window. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { valueUpLanes } from '../../gpu-worker/kernels/value-up-lanes.ts'
import { mixedBytes } from '../../gpu-worker/kernels/value-up-operands.ts'
import { valueUpSingle } from '../../gpu-worker/kernels/value-up.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const shapes = [
  { headCount: 4, nope: 32, rope: 16, latent: 32, value: 32 },
  { headCount: 3, nope: 24, rope: 8, latent: 41, value: 65 },
  { headCount: 2, nope: 5, rope: 2, latent: 260, value: 1 },
]

/** Within groups of four and eight rows, at their edges and past them. */
const rowCounts = [1, 3, 4, 5, 8, 11]

it.each(shapes)('latent $latent to value $value: the bits of value-up', { timeout: 120_000 }, async (shape) => {
  const { headCount, nope, latent, value } = shape
  const rowsMax = Math.max(...rowCounts)
  const mixed = bench.slice(seeded(mixedBytes(shape, rowsMax) / 4, 1))
  const w = rounded(seeded(headCount * (nope + value) * latent, 2), 'bf16')
  for (const windowRows of [Infinity, nope + value]) {
    const kvB = bench.matrix(w, latent, 'bf16', windowRows)
    for (const rows of rowCounts) {
      for (const together of [4, 8] as const) {
        const [wanted, y] = [bench.result(rowsMax, headCount * value), bench.result(rowsMax, headCount * value)]
        const every = { together, rowsFrom: 1, rowsTo: Infinity }
        await bench.run(valueUpSingle({ mixed, kvB, y: wanted }, shape, rowsMax, Infinity), rows)
        await bench.run(valueUpLanes({ mixed, kvB, y }, shape, rowsMax, every), rows)
        expect(bits(await bench.read(y, rows)), `${rows} rows`).toEqual(bits(await bench.read(wanted, rows)))
      }
    }
  }
})
