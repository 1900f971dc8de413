/** latent-mix-tile: a tile at a time the bits of tiles side by side, of whole rows and of single splits. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { latentMixTile } from '../../gpu-worker/kernels/latent-mix-tile.ts'
import { latentMixFew } from '../../gpu-worker/kernels/latent-mix.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { latentScoresFew } from '../../gpu-worker/kernels/latent-scores.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits } from '../fixtures/numbers.ts'
import { scoredSteps } from '../fixtures/scored-step.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench({ processor: 'gpu' })
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each(scoredSteps)('latent $shape.latent, rope $shape.rope, pages in $format', { timeout: 120_000 }, async (step) => {
  const { ropeStart } = entryLayout(step.shape)
  const results: Uint32Array[][] = []
  for (const isTile of [false, true]) {
    const { operands, rule, splits, mixes } = step.layOut(bench)
    await bench.run([latentScoresFew(operands, rule, Infinity)], splits)
    const side = { headLanes: 1, columnLanes: 16, tileLanes: 8 } as const
    const form = isTile ? latentMixTile(operands, rule, 1) : latentMixFew(operands, rule, side, Infinity)
    await bench.run([form], mixes)
    const { headCount } = step.shape
    const parts = await bench.readF32(operands.parts, splits * headCount * (ropeStart + 4))
    const mixed = await bench.readF32(operands.mixed, operands.work.rowsMax * headCount * ropeStart)
    results.push([bits(parts), bits(mixed)])
  }
  expect(results[1]).toEqual(results[0])
})
