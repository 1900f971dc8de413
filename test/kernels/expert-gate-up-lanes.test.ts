/** expert-gate-up-lanes: several pairs of an expert together have the bits of one lane for four values, whichever bank holds the expert. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertGateUpLanes } from '../../gpu-worker/kernels/expert-gate-up-lanes.ts'
import { expertGroups, groupsBytes } from '../../gpu-worker/kernels/expert-groups.ts'
import { expertGateUpSingle } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { expertBank } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterAll(() => bench.close())

const TOP = 2
/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 120_000
/** One expert has ten of them, one has none. */
const CHOSEN = [4, 0, 1, 4, 0, 4, 4, 3, 4, 0, 4, 3, 4, 1, 4, 0, 4, 1, 3, 4]
const ROWS = CHOSEN.length / TOP

/** Tiles are 32 rows of a matrix, chunks 32 columns. */
it.each([
  [257, 70],
  [31, 300],
])(
  'hidden %i, width %i',
  async (hiddenSize, width) => {
    const { experts } = expertBank(bench, { expertCount: 5, hiddenSize, width, format: 'bf16', bankCount: 2 })
    const chosen = bench.slice(Uint32Array.from(CHOSEN))
    const x = bench.activation(seeded(ROWS * hiddenSize, 50, 0.2), hiddenSize)
    const [single, together] = [bench.result(ROWS * TOP, width), bench.result(ROWS * TOP, width)]
    await bench.run(expertGateUpSingle({ chosen, x, experts, h: single }, TOP, ROWS), ROWS)
    const sizes = { expertCount: 5, top: TOP, rowsMax: ROWS, together: 8, isForAll: true } as const
    const groups = { ...sizes, slice: bench.slice(new Uint32Array(groupsBytes(sizes) / 4)) }
    await bench.run(
      [expertGroups(chosen, groups), ...expertGateUpLanes({ chosen, x, experts, h: together }, groups)],
      ROWS,
    )
    expect(bits(await bench.read(together, ROWS * TOP))).toEqual(bits(await bench.read(single, ROWS * TOP)))
  },
  COMPILING_MS,
)
