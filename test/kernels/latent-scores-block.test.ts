/** latent-scores-block: for 64 heads and 64 keys together the bits of latent-scores. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { latentScoresBlock } from '../../gpu-worker/kernels/latent-scores-block.ts'
import { latentScoresFew } from '../../gpu-worker/kernels/latent-scores.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits } from '../fixtures/numbers.ts'
import { readScores, scoredSteps } from '../fixtures/scored-step.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench({ processor: 'gpu' })
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each(scoredSteps)('latent $shape.latent, rope $shape.rope, pages in $format', { timeout: 120_000 }, async (step) => {
  const results = []
  for (const form of [latentScoresFew, latentScoresBlock]) {
    const { operands, rule, splits } = step.layOut(bench)
    await bench.run([form(operands, rule, form === latentScoresFew ? Infinity : 1)], splits)
    const scores = await readScores(bench, operands.scores, step.shape, splits)
    results.push(scores.flat().map((own) => bits(Float32Array.from(own))))
  }
  expect(results[1]).toEqual(results[0])
})
