/** residual-sum: exact f32 addition, and the very sum that residual-norm makes. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { residualNorm } from '../../gpu-worker/kernels/residual-norm.ts'
import { residualSumReference } from '../../gpu-worker/kernels/residual-sum.ref.ts'
import { residualSum } from '../../gpu-worker/kernels/residual-sum.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each([1, 63, 64, 65, 80, 7168])('residual-sum of %i values adds exactly, as residual-norm does', async (width) => {
  const [stream, added] = [seeded(3 * width, 2), seeded(3 * width, 3)]
  const [x, same] = [bench.activation(stream, width), bench.activation(stream, width)]
  const [delta, y] = [bench.activation(added, width), bench.result(3, width)]
  const weight = bench.norm(seeded(width, 1))
  await bench.run([residualSum(x, delta, 4), ...residualNorm({ x: same, delta, weight, y }, 1e-6, 4)], 3)
  const got = bits(await bench.read(x, 3))
  expect(got).toEqual(bits(await bench.read(same, 3)))
  expect(got).toEqual(bits(residualSumReference(stream, added)))
})
