/** value-up-panel: whole workgroups by the bits of one lane, whole heads in any window, in formats with scales and without. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { mixedBytes } from '../../gpu-worker/kernels/value-up-operands.ts'
import { valueUpPanel } from '../../gpu-worker/kernels/value-up-panel.ts'
import { valueUpSingle } from '../../gpu-worker/kernels/value-up.ts'
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
  { headCount: 3, nope: 24, rope: 8, latent: 41, value: 65, format: 'bf16' },
  { headCount: 2, nope: 5, rope: 2, latent: 288, value: 33, format: int8 },
] as const

/** One, a few and more rows of a panel, and past them. */
const rowCounts = [1, 3, 9]
const rowsTogetherCounts = [2, 8] as const

it.each(shapes)('latent $latent to value $value: the bits of value-up', { timeout: 120_000 }, async (own) => {
  const { format, ...shape } = own
  const { headCount, nope, latent, value } = shape
  const rowsMax = 12
  const mixed = bench.slice(seeded(mixedBytes(shape, rowsMax) / 4, 1))
  const stored = storedRows(headCount * (nope + value), latent, format, 2)
  for (const windowRows of [Infinity, nope + value]) {
    const kvB = bench.stored(stored, windowRows)
    for (const rows of rowCounts) {
      const wanted = bench.result(rowsMax, headCount * value)
      await bench.run(valueUpSingle({ mixed, kvB, y: wanted }, shape, rowsMax, Infinity), rows)
      for (const rowsTogether of rowsTogetherCounts) {
        const y = bench.result(rowsMax, headCount * value)
        await bench.run(
          valueUpPanel({ mixed, kvB, y }, shape, rowsMax, { rowsTogether, rowsFrom: 1, rowsTo: Infinity }),
          rows,
        )
        expect(bits(await bench.read(y, rows)), `${rows} rows by ${rowsTogether}`).toEqual(
          bits(await bench.read(wanted, rows)),
        )
      }
    }
  }
})
