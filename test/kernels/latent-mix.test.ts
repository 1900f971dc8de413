/** latent-mix: whole rows, and single splits with their sums and maxima, against f64, and the same bits however lanes share the work. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { latentMixReference } from '../../gpu-worker/kernels/latent-mix.ref.ts'
import { latentMixFew } from '../../gpu-worker/kernels/latent-mix.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { latentScoresReference } from '../../gpu-worker/kernels/latent-scores.ref.ts'
import { latentScoresFew } from '../../gpu-worker/kernels/latent-scores.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, worstError } from '../fixtures/numbers.ts'
import { scoredSteps } from '../fixtures/scored-step.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench({ processor: 'gpu' })
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const laneShapes = [
  { headLanes: 1, columnLanes: 16, tileLanes: 8 },
  { headLanes: 1, columnLanes: 64, tileLanes: 4 },
] as const

it.each(scoredSteps)('latent $shape.latent, rope $shape.rope, pages in $format', { timeout: 120_000 }, async (step) => {
  const { headCount, latent } = step.shape
  const { ropeStart } = entryLayout(step.shape)
  const stride = ropeStart + 4
  const results: Float32Array[][] = []
  for (const lanes of laneShapes) {
    const { operands, rule, splits, mixes, entries, queryOf, keysOf } = step.layOut(bench)
    await bench.run([latentScoresFew(operands, rule, Infinity)], splits)
    await bench.run([latentMixFew(operands, rule, lanes, Infinity)], mixes)
    const parts = await bench.readF32(operands.parts, splits * headCount * stride)
    const mixed = await bench.readF32(operands.mixed, operands.work.rowsMax * headCount * ropeStart)
    const isPart = (row: number): boolean =>
      Array.from({ length: splits }, (_, i) => keysOf(i).row === row).filter(Boolean).length > 1
    for (let at = 0; at < splits * headCount; at++) {
      const head = at % headCount
      const { row, first, count } = keysOf(Math.floor(at / headCount))
      const own = entries.slice(first, first + count)
      const scores = latentScoresReference(queryOf(row, head), own, rule.scale)
      const { mix, sum, highest } = latentMixReference(scores, own, latent)
      const part = parts.subarray(at * stride, (at + 1) * stride)
      const out = mixed.subarray((row * headCount + head) * ropeStart).subarray(0, latent)
      // Weights are off by some 1e-5, as their scores are; a mix is at most as large as its weights and entries below 5.
      const errors = isPart(row)
        ? [
            worstError(part.subarray(0, latent), mix, 5 * sum),
            worstError(part.subarray(ropeStart), [sum, highest, 0, 0], [sum, 10, 1, 1]),
          ]
        : [
            worstError(
              out,
              mix.map((value) => value / sum),
              5,
            ),
          ]
      expect(Math.max(...errors)).toBeLessThan(2e-5)
    }
    results.push([parts, mixed])
  }
  expect(results[1]?.map(bits)).toEqual(results[0]?.map(bits))
})
