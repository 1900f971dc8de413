/** The dense MLP as a whole: gate, up, SwiGLU and down in the right order, against f64. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { matmulReference } from '../../gpu-worker/kernels/matmul.ref.ts'
import { swigluReference } from '../../gpu-worker/kernels/swiglu.ref.ts'
import { denseMlp } from '../../gpu-worker/layers/dense-mlp.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterAll(() => bench.close())

it.each([1, 2, 5])('%i rows', async (rows) => {
  const [hidden, width] = [36, 100]
  const [gate, up] = [1, 2].map((seed) => rounded(seeded(width * hidden, seed, 0.3), 'bf16')) as [
    Float32Array,
    Float32Array,
  ]
  const down = rounded(seeded(hidden * width, 3, 0.3), 'bf16')
  const x = seeded(rows * hidden, 4)
  const delta = bench.result(rows, hidden)
  const operands = {
    weights: {
      gateUp: bench.matrix(Float32Array.from([...gate, ...up]), hidden, 'bf16', 77),
      down: bench.matrix(down, width, 'bf16'),
    },
    scratch: { gateUp: bench.result(rows, 2 * width), hidden: bench.result(rows, width) },
    normed: bench.activation(x, hidden),
    delta,
  }
  await bench.run(denseMlp(operands, Math.ceil(rows / 4) * 4), rows)
  const got = await bench.read(delta, rows)
  for (let row = 0; row < rows; row++) {
    const own = x.subarray(row * hidden, (row + 1) * hidden)
    const wanted = matmulReference(swigluReference(matmulReference(own, gate), matmulReference(own, up)), down)
    const size = Math.max(...wanted.map(Math.abs))
    expect(worstError(got.subarray(row * hidden, (row + 1) * hidden), wanted, size)).toBeLessThan(3e-6)
  }
})
