/** query-absorb-lanes: several rows together by the bits of one row at a time, whole heads in any window. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { queryAbsorbLanes } from '../../gpu-worker/kernels/query-absorb-lanes.ts'
import { queryAbsorbSingle } from '../../gpu-worker/kernels/query-absorb.ts'
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
  { headCount: 3, nope: 23, rope: 6, latent: 33, value: 40 },
  { headCount: 2, nope: 259, rope: 2, latent: 70, value: 3 },
]

/** Within groups of four and eight rows, at their edges and past them. */
const rowCounts = [1, 3, 4, 5, 8, 11]

it.each(shapes)('nope $nope to latent $latent: the bits of query-absorb', { timeout: 120_000 }, async (shape) => {
  const { headCount, nope, rope, latent, value } = shape
  const rowsMax = Math.max(...rowCounts)
  const width = headCount * (nope + rope)
  const entries = rowsMax * headCount * entryLayout(shape).entry
  const empty = new Float32Array(entries).fill(NaN)
  const q = { activation: bench.activation(seeded(rowsMax * width, 1), width), offset: 0, width }
  const turns = bench.slice(seeded(rowsMax * rope, 3))
  const w = rounded(seeded(headCount * (nope + value) * latent, 2), 'bf16')
  for (const windowRows of [Infinity, nope + value]) {
    const kvB = bench.matrix(w, latent, 'bf16', windowRows)
    for (const rows of rowCounts) {
      const count = (entries / rowsMax) * rows
      const rule = { shape, isInterleaved: rows % 2 === 0, rowsMax }
      const [wanted, queries] = [bench.slice(empty), bench.slice(empty)]
      await bench.run(queryAbsorbSingle({ rope: turns, q, kvB, queries: wanted }, rule, Infinity), rows)
      await bench.run(queryAbsorbLanes({ rope: turns, q, kvB, queries }, rule, 1), rows)
      const expected = bits(await bench.readF32(wanted, count))
      expect(bits(await bench.readF32(queries, count)), `${rows} rows`).toEqual(expected)
    }
  }
})
