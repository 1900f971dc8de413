/** latent-scores: every key of every split against f64, the maxima of each 32, and the lowest number for keys that a row has not. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { latentScoresReference } from '../../gpu-worker/kernels/latent-scores.ref.ts'
import { latentScoresFew } from '../../gpu-worker/kernels/latent-scores.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { readScores, scoredSteps } from '../fixtures/scored-step.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench({ processor: 'gpu' })
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each(scoredSteps)('latent $shape.latent, rope $shape.rope, pages in $format', { timeout: 120_000 }, async (step) => {
  const { operands, rule, splits, entries, queryOf, keysOf } = step.layOut(bench)
  await bench.run([latentScoresFew(operands, rule, Infinity)], splits)
  const got = await readScores(bench, operands.scores, step.shape, splits)
  for (let split = 0; split < splits; split++) {
    const { row, first, count } = keysOf(split)
    for (let head = 0; head < step.shape.headCount; head++) {
      const own = got[split]?.[head] ?? []
      const wanted = latentScoresReference(queryOf(row, head), entries.slice(first, first + count), rule.scale)
      // Sums of some 600 products of the size of 1: below 100, and off by 600 roundings at most.
      wanted.forEach((score, j) => expect(Math.abs((own[j] ?? NaN) - score)).toBeLessThan(1e-4))
      expect(own.slice(512, 512 + Math.ceil(count / 32))).toEqual(
        Array.from({ length: Math.ceil(count / 32) }, (_, i) => Math.max(...own.slice(32 * i, 32 * i + 32))),
      )
      expect(own.slice(count, Math.ceil(count / 64) * 64).every((score) => score < -3e38)).toBe(true)
    }
  }
})
