/** route-grouped: one dispatch leaves what route and expert-groups leave, bit for bit but for the order within a group. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  expertGroups,
  groupedFrom,
  groupsBytes,
  itemsMost,
  pairsAt,
  stepGroups,
  stepGroupsBytes,
  type GroupSizes,
} from '../../gpu-worker/kernels/expert-groups.ts'
import { routeGrouped } from '../../gpu-worker/kernels/route-grouped.ts'
import { pairsPerRow, route, type RoutingRule } from '../../gpu-worker/kernels/route.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const tiny = {
  expertCount: 24,
  groupCount: 4,
  groupsKept: 2,
  top: 4,
  isNormalised: true,
  scaling: 2.5,
  hasShared: true,
}
const k1 = { ...tiny, expertCount: 192, groupCount: 8, groupsKept: 4, top: 8 }

describe.each(['cpu', 'gpu'] as const)('on a %s', (processor) => {
  it.each([
    ['axk1-tiny', tiny, 12],
    ['axk1-tiny', tiny, 64],
    ['A.X K1', k1, 43],
    ['A.X K1', k1, 64],
  ])('routes and sorts pairs of %s', async (_, rule: RoutingRule, rows) => {
    const { expertCount } = rule
    const pairs = rows * pairsPerRow(rule)
    const step = { expertCount: expertCount + 1, top: pairsPerRow(rule), rowsMax: rows }
    const sizes: GroupSizes = { ...step, together: 8 }
    expect(rows).toBeGreaterThanOrEqual(groupedFrom(sizes, processor))
    const sharedWidth = 5
    const offset = 2 * sharedWidth
    const bias = bench.slice(seeded(expertCount, 2, 0.1))
    const results = async (isTogether: boolean) => {
      const routes = { chosen: bench.slice(new Uint32Array(pairs)), weights: bench.slice(new Float32Array(pairs)) }
      const groups = { ...sizes, slice: bench.slice(new Uint32Array(stepGroupsBytes(step) / 4).fill(77)) }
      const width = offset + expertCount
      const activation = bench.activation(seeded(rows * width, 1), width)
      const operands = { logits: { activation, offset, width: expertCount }, sharedWidth, bias, routes }
      const together = routeGrouped(operands, stepGroups(step, groups.slice), rule, rows)
      const apart = [...route(operands, rule, rows), expertGroups(routes.chosen, groups, processor)]
      const own = formFor(processor, isTogether ? together : apart)
      expect(
        own.filter(
          (dispatch) => dispatch.subgroups !== false && dispatch.products !== 'matrix' && dispatch.grid(rows) !== null,
        ),
      ).toHaveLength(isTogether ? 1 : 2)
      await bench.run(own, rows)
      return {
        shared: bits(await bench.read(activation, rows)),
        chosen: await bench.readU32(routes.chosen, pairs),
        weights: bits(await bench.readF32(routes.weights, pairs)),
        groups: groupsOf(await bench.readU32(groups.slice, groupsBytes(sizes) / 4), sizes, rows),
      }
    }
    expect(await results(true)).toEqual(await results(false))
  })
})

/** Its items, and the pairs of each expert in ascending order: they may stand in any. */
function groupsOf(words: Uint32Array, sizes: GroupSizes, rows: number) {
  const pairs = Array.from({ length: sizes.expertCount }, (): number[] => [])
  const items = Array.from({ length: itemsMost(sizes, rows) }, (_, item) => {
    const [expert = 0, first = 0, count = 0] = words.subarray(4 * item, 4 * item + 3)
    if (count === 0) return []
    pairs[expert]?.push(...words.subarray(pairsAt(sizes) + first, pairsAt(sizes) + first + count))
    return [expert, first, count]
  })
  return { items, pairs: pairs.map((own) => own.toSorted((a, b) => a - b)) }
}
