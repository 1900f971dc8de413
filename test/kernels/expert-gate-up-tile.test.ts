/** expert-gate-up-tile: by whole workgroups the bits of one lane for four values, whichever bank holds the expert. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertGateUpTile } from '../../gpu-worker/kernels/expert-gate-up-tile.ts'
import { expertGateUpSingle } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { expertBank } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  // With subgroups the same include as matmul-tile's, which takes long to compile here.
  bench = await openBench({ subgroups: false })
})
afterAll(() => bench.close())

const TOP = 2
/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 120_000

/** Tiles are 16 rows of a matrix or more, chunks 32 columns. */
it.each([
  [257, 70],
  [256, 70],
  [31, 300],
])(
  'hidden %i, width %i',
  async (hiddenSize, width) => {
    const { experts } = expertBank(bench, { expertCount: 5, hiddenSize, width, format: 'bf16', bankCount: 2 })
    const chosen = bench.slice(Uint32Array.of(4, 0, 1, 4, 2, 1))
    const x = bench.activation(seeded(3 * hiddenSize, 50, 0.2), hiddenSize)
    const [single, tile] = [bench.result(3 * TOP, width), bench.result(3 * TOP, width)]
    await bench.run(expertGateUpSingle({ chosen, x, experts, h: single }, TOP, 3), 3)
    await bench.run(expertGateUpTile({ chosen, x, experts, h: tile }, TOP, 3), 3)
    expect(bits(await bench.read(tile, 3 * TOP))).toEqual(bits(await bench.read(single, 3 * TOP)))
  },
  COMPILING_MS,
)
