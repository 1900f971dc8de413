/** query-absorb-tile: rows that share decoded weights by the bits of one row at a time, in formats with scales and without. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { queryAbsorbTile } from '../../gpu-worker/kernels/query-absorb-tile.ts'
import { queryAbsorbSingle } from '../../gpu-worker/kernels/query-absorb.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'
import { storedRows } from '../fixtures/stored-rows.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const int8 = { kind: 'int8', groupColumns: 32, scale: 'bf16', hasZeroPoints: false } as const
const shapes = [
  { headCount: 3, nope: 23, rope: 6, latent: 33, value: 40, format: 'bf16' },
  { headCount: 2, nope: 259, rope: 2, latent: 70, value: 3, format: int8 },
] as const

/** Within fours of rows, at their edges and past them. */
const rowCounts = [1, 4, 11]
const quadCounts = [1, 2]

it.each(shapes)('nope $nope to latent $latent: the bits of query-absorb', { timeout: 120_000 }, async (own) => {
  const { format, ...shape } = own
  const { headCount, nope, rope, latent, value } = shape
  const rowsMax = Math.max(...rowCounts)
  const width = headCount * (nope + rope)
  const entries = rowsMax * headCount * entryLayout(shape).entry
  const empty = new Float32Array(entries).fill(NaN)
  const q = { activation: bench.activation(seeded(rowsMax * width, 1), width), offset: 0, width }
  const turns = bench.slice(seeded(rowsMax * rope, 3))
  const stored = storedRows(headCount * (nope + value), latent, format, 2)
  for (const windowRows of [Infinity, nope + value]) {
    const kvB = bench.stored(stored, windowRows)
    for (const rows of rowCounts) {
      const count = (entries / rowsMax) * rows
      const rule = { shape, isInterleaved: rows % 2 === 0, rowsMax }
      const wanted = bench.slice(empty)
      await bench.run(queryAbsorbSingle({ rope: turns, q, kvB, queries: wanted }, rule, Infinity), rows)
      const expected = bits(await bench.readF32(wanted, count))
      for (const rowQuads of quadCounts) {
        const queries = bench.slice(empty)
        const steps = { rowQuads, rowsFrom: 1, rowsTo: Infinity }
        await bench.run(queryAbsorbTile({ rope: turns, q, kvB, queries }, rule, steps), rows)
        expect(bits(await bench.readF32(queries, count)), `${rows} rows by ${rowQuads}`).toEqual(expected)
      }
    }
  }
})
