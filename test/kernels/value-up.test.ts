/** value-up: each head's value against f64, whole heads in any window. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { mixedBytes } from '../../gpu-worker/kernels/value-up-operands.ts'
import { valueUpReference } from '../../gpu-worker/kernels/value-up.ref.ts'
import { valueUp } from '../../gpu-worker/kernels/value-up.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, dotBound, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const shapes = [
  { headCount: 4, nope: 32, rope: 16, latent: 32, value: 32 },
  { headCount: 5, nope: 24, rope: 8, latent: 40, value: 65 },
  { headCount: 2, nope: 5, rope: 2, latent: 260, value: 1 },
]

it.each(shapes)('latent $latent to value $value is within the rounding of the order contract', async (shape) => {
  const { headCount, nope, latent, value } = shape
  const { ropeStart } = entryLayout(shape)
  const rows = 2
  const mixed = seeded(mixedBytes(shape, rows) / 4, 1)
  const w = rounded(seeded(headCount * (nope + value) * latent, 2), 'f16')
  const results = []
  for (const windowRows of [Infinity, nope + value]) {
    const y = bench.result(rows, headCount * value)
    const kvB = bench.matrix(w, latent, 'f16', windowRows)
    await bench.run(valueUp({ mixed: bench.slice(mixed), kvB, y }, shape, rows), rows)
    results.push(await bench.read(y, rows))
  }
  const [got, split] = results
  expect(bits(split ?? new Float32Array())).toEqual(bits(got ?? new Float32Array()))
  for (let at = 0; at < rows * headCount; at++) {
    const own = mixed.subarray(at * ropeStart, at * ropeStart + latent)
    const first = (at % headCount) * (nope + value) + nope
    const wv = w.subarray(first * latent, (first + value) * latent)
    const size = valueUpReference(own.map(Math.abs), wv.map(Math.abs))
    const result = got?.subarray(at * value, (at + 1) * value) ?? []
    expect(worstError(result, valueUpReference(own, wv), size)).toBeLessThanOrEqual(dotBound(latent))
  }
})

it('a latent whose last unit of eight ends behind the binding is refused', () => {
  const shape = { headCount: 2, nope: 5, rope: 2, latent: 260, value: 1 }
  const { headCount, nope, latent, value } = shape
  const kvB = bench.matrix(new Float32Array(headCount * (nope + value) * latent), latent, 'f16')
  const mixed = bench.slice(new Float32Array(headCount * latent))
  const launch = () => valueUp({ mixed, kvB, y: bench.result(1, headCount * value) }, shape, 1)
  expect(launch).toThrow('Binding mixed is too small: need 2096 bytes, got 2080')
})
