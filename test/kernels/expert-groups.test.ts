/** expert-groups: every pair in exactly one item of its expert, items no larger than a group, the rest empty. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertGroupsReference } from '../../gpu-worker/kernels/expert-groups.ref.ts'
import { expertGroups, groupedFrom, groupsBytes, itemsMost, pairsAt } from '../../gpu-worker/kernels/expert-groups.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterAll(() => bench.close())

/** Rows of two pairs among experts; 300 experts are more than a workgroup has lanes. */
it.each([
  [4, 12, 'even'],
  [4, 19, 'even'],
  [4, 70, 'one'],
  [300, 300, 'even'],
  [1, 19, 'one'],
] as const)('%i experts, %i rows, %s', async (expertCount, rows, kind) => {
  const top = 2
  const dice = seeded(rows * top, 7)
  const chosen = Uint32Array.from(dice, (value) =>
    kind === 'one' ? 0 : Math.floor(Math.abs(value) * 1e6) % expertCount,
  )
  const rowsMax = rows + 4
  const sizes = { expertCount, top, rowsMax, together: 8 } as const
  const slice = bench.slice(new Uint32Array(groupsBytes(sizes) / 4).fill(0xffffffff))
  const groups = { ...sizes, slice }
  expect(rows).toBeGreaterThanOrEqual(groupedFrom(groups))
  const all = new Uint32Array(rowsMax * top)
  all.set(chosen)
  await bench.run([expertGroups(bench.slice(all), groups)], rows)
  const got = await bench.readU32(slice, slice.bytes / 4)
  const found: number[][] = Array.from({ length: expertCount }, () => [])
  for (let item = 0; item < itemsMost(groups, rows); item++) {
    const [expert = 0, first = 0, count = 0] = got.subarray(4 * item, 4 * item + 3)
    expect(count).toBeLessThanOrEqual(sizes.together)
    if (count > 0) found[expert]?.push(...got.subarray(pairsAt(groups) + first, pairsAt(groups) + first + count))
  }
  expect(found.map((pairs) => pairs.sort((a, b) => a - b))).toEqual(expertGroupsReference(chosen, expertCount))
})
