/** expert-gate-up-block: large groups have the bits of one pair at a time, whichever bank holds the expert. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertGateUpBlock } from '../../gpu-worker/kernels/expert-gate-up-block.ts'
import { expertGateUpSingle } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { expertGroups, groupedFrom, groupsBytes } from '../../gpu-worker/kernels/expert-groups.ts'
import { expertBank } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterAll(() => bench.close())

const TOP = 2
const EXPERTS = 5
/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 240_000
/** Expert 4 has more pairs than a block takes, expert 2 none. */
const PATTERN = [4, 0, 1, 4, 0, 4, 4, 3, 4, 0, 4, 3, 4, 1, 4, 0, 4, 1, 3, 4]
const CHOSEN = Array.from({ length: 4 }, () => PATTERN).flat()
const ROWS = CHOSEN.length / TOP

/** Blocks are 128 rows of a matrix, or 64 of gate and of up; chunks 32 columns, slabs 32. */
it.each([
  [257, 70],
  [31, 300],
])(
  'hidden %i, width %i',
  async (hiddenSize, width) => {
    const { experts } = expertBank(bench, { expertCount: EXPERTS, hiddenSize, width, format: 'bf16', bankCount: 2 })
    const chosen = bench.slice(Uint32Array.from(CHOSEN))
    const sizes = { expertCount: EXPERTS, top: TOP, rowsMax: ROWS, together: 32 } as const
    expect(ROWS).toBeGreaterThanOrEqual(groupedFrom(sizes))
    const groups = { ...sizes, slice: bench.slice(new Uint32Array(groupsBytes(sizes) / 4)) }
    const x = bench.activation(seeded(ROWS * hiddenSize, 50, 0.2), hiddenSize)
    const [single, together] = [bench.result(ROWS * TOP, width), bench.result(ROWS * TOP, width)]
    await bench.run(expertGateUpSingle({ chosen, x, experts, h: single }, TOP, ROWS), ROWS)
    const blocks = expertGateUpBlock({ chosen, x, experts, h: together }, groups, 'ordered')
    await bench.run([expertGroups(chosen, groups), ...blocks], ROWS)
    expect(bits(await bench.read(together, ROWS * TOP))).toEqual(bits(await bench.read(single, ROWS * TOP)))
  },
  COMPILING_MS,
)
