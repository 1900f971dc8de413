/** Every kernel that reads weights: a quantised matrix gives, bit for bit, what its values stored as f32 give; and is right. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { embed } from '../../gpu-worker/kernels/embed.ts'
import { expertDown } from '../../gpu-worker/kernels/expert-down.ts'
import { expertGateUp } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import type { MatmulOperands } from '../../gpu-worker/kernels/matmul-operands.ts'
import { matmulRowsReference } from '../../gpu-worker/kernels/matmul-rows.ref.ts'
import { matmulRows } from '../../gpu-worker/kernels/matmul-rows.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import { formatName, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { queryAbsorb } from '../../gpu-worker/kernels/query-absorb.ts'
import { mixedBytes } from '../../gpu-worker/kernels/value-up-operands.ts'
import { valueUp } from '../../gpu-worker/kernels/value-up.ts'
import { expertBank } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, dotBound, seeded, worstError } from '../fixtures/numbers.ts'
import { asF32, quantizedFormats, storedRows, type StoredRows } from '../fixtures/stored-rows.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

/** Rows of the matrix and K: units of 8, packed words, vec4s and chunks of 32 values; groups end short. */
const sizes: readonly (readonly [n: number, k: number])[] = [
  [1, 1],
  [5, 7],
  [3, 33],
  [257, 40],
  [9, 255],
  [6, 257],
  [4, 514],
]

type Run = (w: StoredRows) => Promise<Float32Array>

/** The results' bits from the rows as stored and from their values stored as f32. */
async function both(w: StoredRows, run: Run): Promise<{ readonly got: Uint32Array; readonly wanted: Uint32Array }> {
  const got = await run(w)
  if (!got.some((value) => Number.isFinite(value) && value !== 0)) throw new RangeError('Nothing was computed')
  return { got: bits(got), wanted: bits(await run(asF32(w))) }
}

const ROWS = 5

/** f32 [ROWS, k] */
function inputs(k: number): Float32Array {
  return seeded(ROWS * k, 2)
}

function product(stored: StoredRows, dispatches: (operands: MatmulOperands) => Dispatch[]) {
  const k = stored.columnCount
  const x = bench.activation(inputs(k), k)
  return both(stored, async (w) => {
    const matrix = bench.stored(w, 200)
    const y = bench.result(ROWS, matrix.rowCount)
    await bench.run(dispatches({ x, matrix, y }), ROWS)
    return bench.read(y, ROWS)
  })
}

const named = (formats: readonly WeightFormat[]) => formats.map((format) => [formatName(format), format] as const)

describe.each(named(quantizedFormats))('%s', (_, format) => {
  it.each(sizes)('matmul of %i × %i, also within the rounding of the order contract', async (n, k) => {
    const stored = storedRows(n, k, format, 1)
    const { got, wanted } = await product(stored, (operands) => matmulSingle(operands, 8, 99))
    expect(got).toEqual(wanted)
    const { y, size } = matmulRowsReference(inputs(k), stored.values, k)
    expect(worstError(new Float32Array(got.buffer), y, size)).toBeLessThanOrEqual(dotBound(k))
  })

  it.each([1, 7, 65])('embed of %i columns', async (width) => {
    const tokenIds = [0, 22, 5, 6, 7, 5]
    const rows = bench.slice(Uint32Array.from(tokenIds.flatMap((id) => [id, 0, 0, 0])))
    const { got, wanted } = await both(storedRows(23, width, format, 3), async (w) => {
      const x = bench.result(tokenIds.length, width)
      await bench.run(embed({ rows, sampled: rows, table: bench.stored(w, 6), x }, tokenIds.length), tokenIds.length)
      return bench.read(x, tokenIds.length)
    })
    expect(got).toEqual(wanted)
  })
})

/** How a unit is decoded is settled above; here, that each kernel hands on what decoding needs. */
const someFormats: readonly WeightFormat[] = [
  { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false },
  { kind: 'int8', groupColumns: 7, scale: 'bf16', hasZeroPoints: true },
  { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false },
]

describe.each(named(someFormats))('%s', (_, format) => {
  it.each(sizes)('matmul-rows of %i × %i', async (n, k) => {
    const { got, wanted } = await product(storedRows(n, k, format, 1), (operands) => matmulRows(operands, 8, 1))
    expect(got).toEqual(wanted)
  })

  it.each([
    { headCount: 3, nope: 24, rope: 8, latent: 40, value: 65 },
    { headCount: 2, nope: 257, rope: 2, latent: 33, value: 3 },
  ])('query-absorb and value-up, latent $latent', async (shape) => {
    const { headCount, nope, rope, latent, value } = shape
    const { entry } = entryLayout(shape)
    const rows = 2
    const width = headCount * (nope + rope)
    const kvB = storedRows(headCount * (nope + value), latent, format, 4)
    const q = { activation: bench.activation(seeded(rows * width, 5), width), offset: 0, width }
    const turns = bench.slice(seeded(rows * rope, 6))
    const mixed = bench.slice(seeded(mixedBytes(shape, rows) / 4, 7))
    const absorbed = await both(kvB, async (w) => {
      const queries = bench.slice(new Float32Array(rows * headCount * entry))
      await bench.run(queryAbsorb({ rope: turns, q, kvB: bench.stored(w), queries }, shape, true, rows), rows)
      return bench.readF32(queries, rows * headCount * entry)
    })
    expect(absorbed.got).toEqual(absorbed.wanted)
    const raised = await both(kvB, async (w) => {
      const y = bench.result(rows, headCount * value)
      await bench.run(valueUp({ mixed, kvB: bench.stored(w, nope + value), y }, shape, rows), rows)
      return bench.read(y, rows)
    })
    expect(raised.got).toEqual(raised.wanted)
  })

  it.each([
    ['gate and up', { format, downFormat: 'bf16' }],
    ['down', { format: 'bf16', downFormat: format }],
  ] as const)('experts, all rows on one, with quantised %s', async (__, formats) => {
    const shape = { expertCount: 3, hiddenSize: 65, width: 33, bankCount: 2, ...formats }
    const chosen = bench.slice(Uint32Array.of(2, 2, 2, 2))
    const x = bench.activation(seeded(2 * 65, 8, 0.2), 65)
    const results = []
    for (const isWidened of [false, true]) {
      const { experts } = expertBank(bench, { ...shape, isWidened })
      const [h, y] = [bench.result(4, 33), bench.result(4, 65)]
      await bench.run(expertGateUp({ chosen, x, experts, h }, 2, 2), 2)
      await bench.run(expertDown({ chosen, h, experts, y }, 2, 2), 2)
      results.push(await bench.read(y, 4))
    }
    const [got = new Float32Array(), wanted = new Float32Array()] = results
    expect(got.every((value) => Number.isFinite(value) && value !== 0)).toBe(true)
    expect(bits(got)).toEqual(bits(wanted))
  })
})
