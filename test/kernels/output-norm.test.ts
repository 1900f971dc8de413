/** output-norm: picked rows get rms-norm's bits, and the residual stream stays as it was. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { outputNormReference } from '../../gpu-worker/kernels/output-norm.ref.ts'
import { outputNorm } from '../../gpu-worker/kernels/output-norm.ts'
import { rmsNorm } from '../../gpu-worker/kernels/rms-norm.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

describe.each(['cpu', 'gpu'] as const)('on a %s', (processor) => {
  it.each([1, 63, 65, 128])(
    'output-norm of %i values norms the picked rows alone, twice over if asked',
    async (width) => {
      const eps = 1e-6
      const weight = seeded(width, 1)
      const dense = seeded(8 * width, 2)
      const x = bench.activation(dense, width)
      const rows = [7, 0, 4, 7]
      const [y, all] = [bench.result(4, width), bench.result(8, width)]
      const operands = { picked: bench.slice(Uint32Array.from(rows)), x, weight: bench.norm(weight), y }
      await bench.run(formFor(processor, outputNorm(operands, eps, 8, 4)), 4)
      const got = await bench.read(y, 4)
      expect(bits(await bench.read(x, 8))).toEqual(bits(dense))
      const wanted = outputNormReference(rows, dense, weight, eps)
      expect(worstError(got, wanted, wanted.map(Math.abs))).toBeLessThan(2e-6)
      await bench.run(rmsNorm(x, operands.weight, all, eps, 8), 8)
      const whole = await bench.read(all, 8)
      const bitsOf = (values: Float32Array, row: number) => bits(values.slice(row * width, (row + 1) * width))
      rows.forEach((row, i) => expect(bitsOf(got, i)).toEqual(bitsOf(whole, row)))
    },
  )
})
