/**
 * A GPU's ways of latent attention, by tiles of sixteen heads and by stages (latent-scores, latent-mix): the bits of four
 * heads, for heads and columns that fill no workgroup.
 */
import { expect, it } from 'vitest'
import type { DeviceOptions } from '../../gpu-worker/gpu/device.ts'
import { fitsTile } from '../../gpu-worker/kernels/latent-attention-tile.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import { attend, pool } from '../fixtures/attention-step.ts'
import { openBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

const shapes = [
  { headCount: 8, nope: 0, rope: 6, latent: 33, value: 0 },
  // Of A.X K1, but for the count.
  { headCount: 19, nope: 0, rope: 64, latent: 512, value: 0 },
]
/** At the edges of blocks, tiles and splits; four and eight keys are mixed at a time. Twelve splits: twice as many go by blocks. */
const few = [1, 3, 4, 33, 64, 65, 511, 513, 1300]

/** Rows that all lie in one sequence, in whole rows or by splits. */
async function outputBits(
  options: DeviceOptions,
  shape: (typeof shapes)[number],
  lengths: readonly number[],
  slotCount?: number,
) {
  const bench = await openBench(options)
  try {
    const blocks = Array.from({ length: Math.ceil(1300 / BLOCK_TOKENS) }, (_, i) => (i * 11 + 3) % 43)
    const { pages } = pool(bench, 1300, blocks, shape, 'f16')
    const queries = seeded(lengths.length * shape.headCount * entryLayout(shape).entry, 7)
    return bits(await attend(bench, { lengths, blocks, pages, queries }, shape, slotCount))
  } finally {
    bench.close()
  }
}

/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 120_000

it.each(shapes)(
  '$headCount heads, latent $latent: the bits of four heads',
  { timeout: COMPILING_MS },
  async (shape) => {
    const expected = await outputBits({ subgroups: false }, shape, few)
    expect(await outputBits({ processor: 'gpu' }, shape, few)).toEqual(expected)
    expect(await outputBits({ processor: 'gpu' }, shape, few, 0)).toEqual(expected)
    const many = [...few, ...few]
    expect(await outputBits({ processor: 'gpu' }, shape, many)).toEqual(
      await outputBits({ processor: 'gpu' }, shape, many, 0),
    )
  },
)

it('leaves few heads and wide latents to other shaders', () => {
  const shape = { headCount: 8, nope: 0, rope: 64, latent: 512, value: 0 }
  expect(fitsTile(shape)).toBe(true)
  expect(fitsTile({ ...shape, headCount: 7 })).toBe(false)
  expect(fitsTile({ ...shape, latent: 513 })).toBe(false)
})
