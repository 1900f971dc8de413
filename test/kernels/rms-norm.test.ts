/** rms-norm: against f64 at the edges of lanes, one row never touching another. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rmsNormReference } from '../../gpu-worker/kernels/rms-norm.ref.ts'
import { rmsNorm } from '../../gpu-worker/kernels/rms-norm.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { F32_ROUNDING, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const EPS = 1e-6
/** A row has 64 lanes; 128 is axk1-tiny's, 7168 A.X K1's. */
const widths = [1, 40, 63, 64, 65, 128, 7168]

describe.each(['f32', 'bf16', 'f16'] as const)('rms-norm with a weight of %s', (format) => {
  it.each(widths)('of %i values is within the rounding of its sum', async (width) => {
    const weight = rounded(seeded(width, 1), format)
    const wide = width + 5
    const dense = seeded(3 * wide, 2)
    const y = bench.result(3, width)
    const part = { activation: bench.activation(dense, wide), offset: 5, width }
    await bench.run([rmsNorm(part, bench.norm(weight, format), y, EPS, 4)], 3)
    const got = await bench.read(y, 3)
    // A lane's fma chain and the tree halve in the root; quotient and product round once each.
    const bound = ((width / 64 + 20) / 2 + 3) * F32_ROUNDING
    for (const row of [0, 1, 2]) {
      const wanted = rmsNormReference(dense.subarray(row * wide + 5, (row + 1) * wide), weight, EPS)
      expect(worstError(got.subarray(row * width, (row + 1) * width), wanted, wanted.map(Math.abs))).toBeLessThan(bound)
    }
  })
})

it('a NaN in one row stays in that row; a row of zeros gives zeros', async () => {
  const x = new Float32Array(3 * 8)
  x.set(seeded(8, 3), 8)
  x[16] = NaN
  const y = bench.result(3, 8)
  const part = { activation: bench.activation(x, 8), offset: 0, width: 8 }
  await bench.run([rmsNorm(part, bench.norm(seeded(8, 1), 'f32'), y, EPS, 4)], 3)
  const got = await bench.read(y, 3)
  expect([...got.subarray(0, 8)].every((value) => value === 0)).toBe(true)
  expect([...got.subarray(8, 16)].every(Number.isFinite)).toBe(true)
  expect([...got.subarray(16)].every(Number.isNaN)).toBe(true)
})
