/** expert-down: every pair against f64, whichever experts are chosen and whichever banks hold them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expertDownReference } from '../../gpu-worker/kernels/expert-down.ref.ts'
import { expertDown } from '../../gpu-worker/kernels/expert-down.ts'
import { expertBank, type BankShape } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, dotBound, seeded, worstError } from '../fixtures/numbers.ts'

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
    [1, 0],
    [1, 0],
    [1, 0],
  ],
  'each row its own': [
    [1, 0],
    [0, 1],
    [1, 0],
  ],
}

async function run(shape: Omit<BankShape, 'bankCount'>, bankCount: number, chosen: readonly number[][]) {
  const { experts, values } = expertBank(bench, { ...shape, bankCount })
  const pairs = chosen.length * TOP
  const dense = seeded(pairs * shape.width, 60)
  const y = bench.result(pairs, shape.hiddenSize)
  const operands = {
    chosen: bench.slice(Uint32Array.from(chosen.flat())),
    h: bench.activation(dense, shape.width),
    experts,
    y,
  }
  await bench.run(expertDown(operands, TOP, chosen.length), chosen.length)
  return { got: await bench.read(y, pairs), dense, values }
}

describe.each(shapes)('$expertCount experts of $format, $hiddenSize × $width', (shape) => {
  it.each(Object.entries(choices))('%s: right, and the same bits from one bank or two', async (_, chosen) => {
    const { got, dense, values } = await run(shape, 1, chosen)
    const { got: split } = await run(shape, 2, chosen)
    expect(bits(split)).toEqual(bits(got))
    chosen.flat().forEach((expert, pair) => {
      const own = dense.subarray(pair * shape.width, (pair + 1) * shape.width)
      const down = values[expert]?.down ?? new Float32Array()
      const size = expertDownReference(own.map(Math.abs), down.map(Math.abs))
      const result = got.subarray(pair * shape.hiddenSize, (pair + 1) * shape.hiddenSize)
      expect(worstError(result, expertDownReference(own, down), size)).toBeLessThanOrEqual(dotBound(shape.width))
    })
  })
})
