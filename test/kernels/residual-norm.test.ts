/** residual-norm: the sum is exact f32 addition, the norm has rms-norm's bits. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { residualNormReference } from '../../gpu-worker/kernels/residual-norm.ref.ts'
import { residualNorm } from '../../gpu-worker/kernels/residual-norm.ts'
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

const widths = [1, 63, 64, 65, 80, 128, 2048, 2052, 7168]

describe.each(['cpu', 'gpu'] as const)('on a %s', (processor) => {
  it.each(widths)('residual-norm of %i values adds exactly and norms as rms-norm does', async (width) => {
    const weight = seeded(width, 1)
    const [dense, added] = [seeded(2 * width, 2), seeded(2 * width, 3)]
    const [x, delta, y, again] = [
      bench.activation(dense, width),
      bench.activation(added, width),
      bench.result(2, width),
      bench.result(2, width),
    ]
    const norm = bench.norm(weight)
    await bench.run(formFor(processor, residualNorm({ x, delta, weight: norm, y }, EPS, 4)), 2)
    await bench.run(rmsNorm(x, norm, again, EPS, 4), 2)
    const [sum, got] = [await bench.read(x, 2), await bench.read(y, 2)]
    expect(bits(got)).toEqual(bits(await bench.read(again, 2)))
    const bound = ((width / 512 + 72) / 2 + 3) * F32_ROUNDING
    for (const row of [0, 1]) {
      const at = [row * width, (row + 1) * width] as const
      const wanted = residualNormReference(dense.subarray(...at), added.subarray(...at), weight, EPS)
      expect(bits(sum.subarray(...at))).toEqual(bits(wanted.x))
      expect(worstError(got.subarray(...at), wanted.y, wanted.y.map(Math.abs))).toBeLessThan(bound)
    }
  })
})
