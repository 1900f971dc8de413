/** latent-mix: each split's mix, sum and maximum against f64, and the same bits however lanes share the work. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { latentMixReference } from '../../gpu-worker/kernels/latent-mix.ref.ts'
import { latentMix } from '../../gpu-worker/kernels/latent-mix.ts'
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
  { headLanes: 2, columnLanes: 32, tileLanes: 2 },
]

it.each(scoredSteps)('latent $shape.latent, rope $shape.rope, pages in $format', { timeout: 120_000 }, async (step) => {
  const { headCount, latent } = step.shape
  const stride = entryLayout(step.shape).ropeStart + 4
  const results: Float32Array[] = []
  for (const lanes of laneShapes) {
    const { operands, rule, splits, entries, queryOf, keysOf } = step.layOut(bench)
    await bench.run([latentScoresFew(operands, rule, Infinity)], splits)
    await bench.run(latentMix(operands, rule, [{ ...lanes, splitsFrom: 1, splitsTo: Infinity }]), splits)
    const got = await bench.readF32(operands.parts, splits * headCount * stride)
    results.push(got)
    for (let at = 0; at < splits * headCount; at++) {
      const { row, first, count } = keysOf(Math.floor(at / headCount))
      const own = entries.slice(first, first + count)
      const { mix, sum, highest } = latentMixReference(
        latentScoresReference(queryOf(row, at % headCount), own, rule.scale),
        own,
        latent,
      )
      const part = got.subarray(at * stride, (at + 1) * stride)
      // Weights are off by some 1e-5, as their scores are; a mix is at most as large as its weights and entries below 5.
      expect(worstError(part.subarray(0, latent), mix, 5 * sum)).toBeLessThan(2e-5)
      expect(worstError(part.subarray(stride - 4), [sum, highest, 0, 0], [sum, 10, 1, 1])).toBeLessThan(2e-5)
    }
  }
  expect(bits(results[1] ?? new Float32Array())).toEqual(bits(results[0] ?? new Float32Array()))
})
