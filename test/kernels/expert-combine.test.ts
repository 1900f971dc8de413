/** expert-combine: rank order, the norm after, the residual sum, the norm that follows; bits where the order is the claim. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expertCombineReference } from '../../gpu-worker/kernels/expert-combine.ref.ts'
import { expertCombine } from '../../gpu-worker/kernels/expert-combine.ts'
import { residualNorm } from '../../gpu-worker/kernels/residual-norm.ts'
import { rmsNorm } from '../../gpu-worker/kernels/rms-norm.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const EPS = 1e-6
const rows = 2
const ends = [true, false].flatMap((hasNorm) => [true, false].map((hasNext) => ({ hasNorm, hasNext })))

describe.each(['cpu', 'gpu'] as const)('on a %s', (processor) => {
  describe.each([1, 63, 65, 128, 2052])('%i values', (width) => {
    it.each([1, 4, 9])('the end of a layer of %i experts a row is right, with and without its norms', async (top) => {
      const [weights, y, x] = [seeded(rows * top, 1), seeded(rows * top * width, 2), seeded(rows * width, 3)]
      const [norm, next] = [seeded(width, 4), seeded(width, 5)]
      for (const { hasNorm, hasNext } of ends) {
        const operands = {
          weights: bench.slice(weights),
          y: bench.activation(y, width),
          norm: hasNorm ? bench.norm(norm) : null,
          x: bench.activation(x, width),
          next: hasNext ? bench.norm(next) : null,
          normed: bench.result(rows, width),
        }
        await bench.run(formFor(processor, expertCombine(operands, top, EPS, rows)), rows)
        const [stream, normed] = [await bench.read(operands.x, rows), await bench.read(operands.normed, rows)]
        for (let row = 0; row < rows; row++) {
          const own = Array.from({ length: top }, (_, rank) =>
            y.subarray((row * top + rank) * width, (row * top + rank + 1) * width),
          )
          const at = [row * width, (row + 1) * width] as const
          const wanted = expertCombineReference(
            weights.subarray(row * top),
            own,
            hasNorm ? norm : null,
            x.subarray(...at),
            hasNext ? next : null,
            EPS,
          )
          // top + 1 roundings of sums below 30; the norms divide by a root near their size.
          expect(worstError(stream.subarray(...at), wanted.x, 30)).toBeLessThan(1e-6)
          const got = hasNext ? normed.subarray(...at) : []
          expect(worstError(got, wanted.normed ?? [], 30)).toBeLessThan(1e-6)
        }
      }
    })

    it('has the bits of its parts: the sum normed by rms-norm, then added and normed by residual-norm', async () => {
      const [x, y] = [seeded(4 * width, 6), seeded(4 * width, 7)]
      const [norm, next] = [bench.norm(seeded(width, 8)), bench.norm(seeded(width, 9))]
      const ones = bench.slice(new Float32Array(4).fill(1))
      const [stream, same] = [bench.activation(x, width), bench.activation(x, width)]
      const [normed, delta, again] = [bench.result(4, width), bench.result(4, width), bench.result(4, width)]
      const pairs = bench.activation(y, width)
      const whole = expertCombine({ weights: ones, y: pairs, norm, x: stream, next, normed }, 1, EPS, 4)
      const parts = [
        ...rmsNorm(pairs, norm, delta, EPS, 4),
        ...residualNorm({ x: same, delta, weight: next, y: again }, EPS, 4),
      ]
      await bench.run([...formFor(processor, whole), ...formFor(processor, parts)], 4)
      expect(bits(await bench.read(stream, 4))).toEqual(bits(await bench.read(same, 4)))
      expect(bits(await bench.read(normed, 4))).toEqual(bits(await bench.read(again, 4)))
    })
  })
})

/** Three one-value experts of weight 1, no norm, added to nothing. */
async function combined(order: readonly number[]): Promise<Float32Array> {
  const operands = {
    weights: bench.slice(new Float32Array(3).fill(1)),
    y: bench.activation(order, 1),
    norm: null,
    x: bench.activation([0], 1),
    next: null,
    normed: bench.result(1, 1),
  }
  await bench.run(expertCombine(operands, 3, EPS, 1), 1)
  return bench.read(operands.x, 1)
}

it('adds in rank order: ranks exchanged give other bits where rounding tells', async () => {
  const [a, b, c] = [1, 2 ** -24, 2 ** -24]
  expect(bits(await combined([a, b, c]))).toEqual(bits(Float32Array.of(1)))
  expect(bits(await combined([b, c, a]))).toEqual(bits(Float32Array.of(1 + 2 ** -23)))
})
