/** latent-attention-lanes: by one subgroup the bits of a whole workgroup, for heads and columns that fill neither. */
import { expect, it } from 'vitest'
import type { DeviceOptions } from '../../gpu-worker/gpu/device.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import { attend, pool } from '../fixtures/attention-step.ts'
import { openBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

const shapes = [
  { headCount: 4, nope: 0, rope: 16, latent: 32, value: 0 },
  { headCount: 6, nope: 0, rope: 10, latent: 70, value: 0 },
  // Two chunks of 256.
  { headCount: 5, nope: 0, rope: 64, latent: 300, value: 0 },
]
/** At the edges of groups of 8 and 16 keys, of blocks, tiles and splits. */
const lengths = [1, 8, 9, 15, 16, 17, 33, 64, 65, 200, 511, 512, 513, 1300]

/** Rows that all lie in one sequence, in whole rows or by splits. */
async function outputBits(options: DeviceOptions, shape: (typeof shapes)[number], slotCount?: number) {
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
  '$headCount heads, latent $latent: the bits of a workgroup',
  { timeout: COMPILING_MS },
  async (shape) => {
    const expected = await outputBits({ processor: 'gpu' }, shape)
    expect(await outputBits({}, shape)).toEqual(expected)
    expect(await outputBits({}, shape, 0)).toEqual(expected)
  },
)
