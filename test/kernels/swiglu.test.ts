/** swiglu: against f64 over ordinary and extreme gates. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { swigluReference } from '../../gpu-worker/kernels/swiglu.ref.ts'
import { swiglu } from '../../gpu-worker/kernels/swiglu.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

async function run(gate: Float32Array, up: Float32Array): Promise<Float32Array> {
  const width = gate.length
  const x = bench.activation(Float32Array.from([...gate, ...up]), 2 * width)
  const y = bench.result(1, width)
  const part = (offset: number) => ({ activation: x, offset, width })
  await bench.run([swiglu(part(0), part(width), y, 4)], 1)
  return bench.read(y, 1)
}

it.each([1, 63, 64, 65, 512])('swiglu of %i values is within a few roundings', async (width) => {
  const [gate, up] = [seeded(width, 1, 5), seeded(width, 2)]
  const wanted = swigluReference(gate, up)
  // exp is within 2e-7; sum, quotient (2.5 units) and product add four roundings.
  expect(worstError(await run(gate, up), wanted, wanted.map(Math.abs))).toBeLessThan(6e-7)
})

it('large gates pass through, large negative gates give nearly nothing, NaN stays NaN', async () => {
  const gate = Float32Array.of(1000, 88, -88, -1000, NaN, 0)
  const got = await run(gate, new Float32Array(6).fill(2))
  expect(got[0]).toBe(2000)
  expect(got[1]).toBe(176)
  expect(Math.abs(got[2] ?? NaN)).toBeLessThan(1e-34)
  expect(Math.abs(got[3] ?? NaN)).toBeLessThan(1e-34)
  expect(got[4]).toBeNaN()
  expect(got[5]).toBe(0)
})
