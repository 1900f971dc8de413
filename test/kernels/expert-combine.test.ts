/** expert-combine: rank order, then shared, then the norm; bit for bit where the order is the claim. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expertCombineReference } from '../../gpu-worker/kernels/expert-combine.ref.ts'
import { expertCombine } from '../../gpu-worker/kernels/expert-combine.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const EPS = 1e-6

describe.each([1, 63, 64, 65, 128])('%i values', (width) => {
  it.each([1, 4, 8])('the sum of %i experts, with and without a shared one and a norm, is right', async (top) => {
    const rows = 2
    const [weights, y, shared] = [seeded(rows * top, 1), seeded(rows * top * width, 2), seeded(rows * width, 3)]
    const norm = rounded(seeded(width, 4), 'bf16')
    for (const [isNormed, hasShared] of [
      [true, true],
      [false, true],
      [true, false],
      [false, false],
    ]) {
      const delta = bench.result(rows, width)
      const operands = {
        weights: bench.slice(weights),
        y: bench.activation(y, width),
        shared: hasShared ? bench.activation(shared, width) : null,
        norm: isNormed ? bench.norm(norm, 'bf16') : null,
        delta,
      }
      await bench.run([expertCombine(operands, top, EPS, rows)], rows)
      const got = await bench.read(delta, rows)
      for (let row = 0; row < rows; row++) {
        const own = Array.from({ length: top }, (_, rank) =>
          y.subarray((row * top + rank) * width, (row * top + rank + 1) * width),
        )
        const wanted = expertCombineReference(
          weights.subarray(row * top),
          own,
          hasShared ? shared.subarray(row * width, (row + 1) * width) : new Float32Array(width),
          isNormed ? norm : null,
          EPS,
        )
        // top + 1 roundings of sums below 30; the norm divides by a root near their size.
        expect(worstError(got.subarray(row * width, (row + 1) * width), wanted, 30)).toBeLessThan(1e-6)
      }
    }
  })
})

/** Three one-value experts of weight 1, nothing shared, no norm. */
async function combined(order: readonly number[]): Promise<Float32Array> {
  const delta = bench.result(1, 1)
  const operands = {
    weights: bench.slice(new Float32Array(3).fill(1)),
    y: bench.activation(order, 1),
    shared: bench.activation([0], 1),
    norm: null,
    delta,
  }
  await bench.run([expertCombine(operands, 3, EPS, 1)], 1)
  return bench.read(delta, 1)
}

it('adds in rank order: ranks exchanged give other bits where rounding tells', async () => {
  const [a, b, c] = [1, 2 ** -24, 2 ** -24]
  expect(bits(await combined([a, b, c]))).toEqual(bits(Float32Array.of(1)))
  expect(bits(await combined([b, c, a]))).toEqual(bits(Float32Array.of(1 + 2 ** -23)))
})
