/** expert-gate-up: every pair against f64, whichever experts are chosen and whichever banks hold them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expertGateUpReference } from '../../gpu-worker/kernels/expert-gate-up.ref.ts'
import { expertGateUp } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { expertBank, type BankShape } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const shapes: readonly Omit<BankShape, 'bankCount'>[] = [
  { expertCount: 6, hiddenSize: 128, width: 96, format: 'bf16' },
  { expertCount: 5, hiddenSize: 80, width: 36, format: 'f16' },
  { expertCount: 3, hiddenSize: 257, width: 257, format: 'f32' },
  { expertCount: 2, hiddenSize: 1, width: 1, format: 'f32' },
]
const TOP = 2

/** [row][rank] */
const choices = {
  'all rows on one expert, one with none': [
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1],
  ],
  'each row its own': [
    [1, 0],
    [0, 1],
    [1, 0],
    [0, 1],
  ],
}

async function run(shape: Omit<BankShape, 'bankCount'>, bankCount: number, chosen: readonly number[][]) {
  const { experts, values } = expertBank(bench, { ...shape, bankCount })
  const x = seeded(chosen.length * shape.hiddenSize, 50, 0.2)
  const h = bench.result(chosen.length * TOP, shape.width)
  const operands = {
    chosen: bench.slice(Uint32Array.from(chosen.flat())),
    x: bench.activation(x, shape.hiddenSize),
    experts,
    h,
  }
  await bench.run(expertGateUp(operands, TOP, chosen.length), chosen.length)
  return { got: await bench.read(h, chosen.length * TOP), x, values }
}

describe.each(shapes)('$expertCount experts of $format, $width × $hiddenSize', (shape) => {
  it.each(Object.entries(choices))('%s: right, and the same bits from one bank or two', async (_, chosen) => {
    const { got, x, values } = await run(shape, 1, chosen)
    const { got: split } = await run(shape, 2, chosen)
    expect(bits(split)).toEqual(bits(got))
    chosen.flat().forEach((expert, pair) => {
      const row = Math.floor(pair / TOP)
      const own = x.subarray(row * shape.hiddenSize, (row + 1) * shape.hiddenSize)
      const { gate, up } = values[expert] ?? { gate: [], up: [] }
      const wanted = expertGateUpReference(own, gate, up)
      // Gates and ups are sums of K products below 1: off by at most K roundings of that size, and their product by both.
      const size = Math.max(1, ...wanted.map(Math.abs))
      expect(worstError(got.subarray(pair * shape.width, (pair + 1) * shape.width), wanted, size)).toBeLessThan(1e-5)
    })
  })
})
