/** output-norm: picked rows get residual-norm's bits, and the residual stream stays as it was. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { outputNormReference } from '../../gpu-worker/kernels/output-norm.ref.ts'
import { outputNorm } from '../../gpu-worker/kernels/output-norm.ts'
import { residualNorm } from '../../gpu-worker/kernels/residual-norm.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each([1, 63, 65, 128])(
  'output-norm of %i values norms the picked rows alone, twice over if asked',
  async (width) => {
    const eps = 1e-6
    const weight = rounded(seeded(width, 1), 'f16')
    const [dense, added] = [seeded(8 * width, 2), seeded(8 * width, 3)]
    const x = bench.activation(dense, width)
    const operands = { x, delta: bench.activation(added, width), weight: bench.norm(weight, 'f16') }
    const rows = [7, 0, 4, 7]
    const [y, all] = [bench.result(4, width), bench.result(8, width)]
    await bench.run([outputNorm({ ...operands, y, picked: bench.slice(Uint32Array.from(rows)) }, eps, 8, 4)], 4)
    const got = await bench.read(y, 4)
    expect(bits(await bench.read(x, 8))).toEqual(bits(dense))
    const wanted = outputNormReference(rows, dense, added, weight, eps)
    expect(worstError(got, wanted, wanted.map(Math.abs))).toBeLessThan(2e-6)
    await bench.run([residualNorm({ ...operands, y: all }, eps, 8)], 8)
    const whole = await bench.read(all, 8)
    const bitsOf = (values: Float32Array, row: number) => bits(values.slice(row * width, (row + 1) * width))
    rows.forEach((row, i) => expect(bitsOf(got, i)).toEqual(bitsOf(whole, row)))
  },
)
