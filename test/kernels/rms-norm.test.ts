/** rms-norm: against f64 at the edges of lanes, one row never touching another. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rmsNormReference } from '../../gpu-worker/kernels/rms-norm.ref.ts'
import { rmsNorm } from '../../gpu-worker/kernels/rms-norm.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, F32_ROUNDING, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const EPS = 1e-6
/** A row has 512 strands of quads; 128 is axk1-tiny's, 7168 A.X K1's. */
const widths = [1, 40, 63, 64, 65, 128, 2047, 2048, 2049, 7168]

describe.each(['cpu', 'gpu'] as const)('rms-norm on a %s', (processor) => {
  it.each(widths)('of %i values is within the rounding of its sum', async (width) => {
    const weight = seeded(width, 1)
    const dense = seeded(3 * width, 2)
    const y = bench.result(3, width)
    const norm = rmsNorm(bench.activation(dense, width), bench.norm(weight), y, EPS, 4)
    await bench.run(formFor(processor, norm), 3)
    const got = await bench.read(y, 3)
    // A lane's fma chain and the tree halve in the root; quotient and product round once each.
    const bound = ((width / 512 + 72) / 2 + 3) * F32_ROUNDING
    for (const row of [0, 1, 2]) {
      const wanted = rmsNormReference(dense.subarray(row * width, (row + 1) * width), weight, EPS)
      expect(worstError(got.subarray(row * width, (row + 1) * width), wanted, wanted.map(Math.abs))).toBeLessThan(bound)
    }
  })
})

it.each(widths)('of %i values, both forms add up the row in the same order: the same bits', async (width) => {
  const [x, weight] = [bench.activation(seeded(4 * width, 5), width), bench.norm(seeded(width, 6))]
  const [onCpu, onGpu] = [bench.result(4, width), bench.result(4, width)]
  await bench.run(formFor('cpu', rmsNorm(x, weight, onCpu, EPS, 4)), 4)
  await bench.run(formFor('gpu', rmsNorm(x, weight, onGpu, EPS, 4)), 4)
  expect(bits(await bench.read(onCpu, 4))).toEqual(bits(await bench.read(onGpu, 4)))
})

it('a NaN in one row stays in that row; a row of zeros gives zeros', async () => {
  const x = new Float32Array(3 * 8)
  x.set(seeded(8, 3), 8)
  x[16] = NaN
  const y = bench.result(3, 8)
  await bench.run(rmsNorm(bench.activation(x, 8), bench.norm(seeded(8, 1)), y, EPS, 4), 3)
  const got = await bench.read(y, 3)
  expect([...got.subarray(0, 8)].every((value) => value === 0)).toBe(true)
  expect([...got.subarray(8, 16)].every(Number.isFinite)).toBe(true)
  expect([...got.subarray(16)].every(Number.isNaN)).toBe(true)
})
