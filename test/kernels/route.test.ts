/** route: the reference's experts in rank order, its weights, and safe numbers for unsafe logits. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { routeReference } from '../../gpu-worker/kernels/route.ref.ts'
import { pairsPerRow, route, type RoutingRule } from '../../gpu-worker/kernels/route.ts'
import type { Processor } from '../../gpu-worker/gpu/program.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { swiglu } from '../../gpu-worker/kernels/swiglu.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const rules: readonly RoutingRule[] = [
  { expertCount: 24, groupCount: 4, groupsKept: 2, top: 4, isNormalised: true, scaling: 2.5, hasShared: true },
  { expertCount: 192, groupCount: 8, groupsKept: 4, top: 8, isNormalised: true, scaling: 2.5, hasShared: true },
  { expertCount: 10, groupCount: 2, groupsKept: 1, top: 3, isNormalised: false, scaling: 1, hasShared: false },
  { expertCount: 16, groupCount: 1, groupsKept: 1, top: 16, isNormalised: true, scaling: 1, hasShared: true },
  { expertCount: 1, groupCount: 1, groupsKept: 1, top: 1, isNormalised: true, scaling: 2.5, hasShared: false },
  { expertCount: 65, groupCount: 65, groupsKept: 3, top: 2, isNormalised: true, scaling: 1, hasShared: false },
]

interface Routed {
  readonly chosen: Uint32Array
  readonly weights: Float32Array
}

async function run(
  rule: RoutingRule,
  rows: readonly Float32Array[],
  bias: Float32Array<ArrayBuffer>,
  processor: Processor = 'cpu',
): Promise<Routed> {
  const { expertCount } = rule
  const pairs = pairsPerRow(rule)
  const offset = 3
  const width = expertCount + offset
  const padded = rows.flatMap((row) => [NaN, NaN, NaN, ...row])
  const logits = { activation: bench.activation(padded, width), offset, width: expertCount }
  const routes = {
    chosen: bench.slice(new Uint32Array(rows.length * pairs).fill(0xffff)),
    weights: bench.slice(new Float32Array(rows.length * pairs)),
  }
  await bench.run(
    formFor(processor, route({ logits, sharedWidth: 0, bias: bench.slice(bias), routes }, rule, rows.length)),
    rows.length,
  )
  return {
    chosen: await bench.readU32(routes.chosen, rows.length * pairs),
    weights: await bench.readF32(routes.weights, rows.length * pairs),
  }
}

describe.each(rules)('$top of $expertCount experts, $groupsKept of $groupCount groups', (rule) => {
  const { expertCount } = rule
  const pairs = pairsPerRow(rule)

  it.each([
    ['cpu', 'no bias', 0],
    ['cpu', 'a bias', 0.3],
    ['gpu', 'a bias', 0.3],
  ] as const)('on a %s chooses and weighs as the reference does, with %s', async (processor, _which, size) => {
    const bias = seeded(expertCount, 2, size)
    const rows = Array.from({ length: 20 }, (_, i) => seeded(expertCount, i + 10))
    const { chosen, weights } = await run(rule, rows, bias, processor)
    rows.forEach((row, i) => {
      const wanted = routeReference(row, bias, rule)
      expect([...chosen.subarray(i * pairs, (i + 1) * pairs)]).toEqual(wanted.chosen)
      expect(worstError(weights.subarray(i * pairs, (i + 1) * pairs), wanted.weights, wanted.weights)).toBeLessThan(
        2e-6,
      )
    })
  })

  it('equal logits choose the lowest numbers', async () => {
    const row = new Float32Array(expertCount).fill(0.25)
    const { chosen } = await run(rule, [row], new Float32Array(expertCount))
    expect([...chosen]).toEqual(routeReference(row, new Float32Array(expertCount), rule).chosen)
  })

  it('a row of NaN chooses experts that exist, and leaves its neighbour alone', async () => {
    const good = seeded(expertCount, 4)
    const bias = new Float32Array(expertCount)
    const [alone, beside] = [
      await run(rule, [good], bias),
      await run(rule, [good, new Float32Array(expertCount).fill(NaN)], bias),
    ]
    expect([...beside.chosen].every((expert) => expert < expertCount + Number(rule.hasShared))).toBe(true)
    expect(beside.chosen.subarray(0, pairs)).toEqual(alone.chosen)
    expect(bits(beside.weights.subarray(0, pairs))).toEqual(bits(alone.weights))
  })
})

describe.each(['cpu', 'gpu'] as const)('on a %s', (processor) => {
  it.each([1, 511, 512, 513])('%i gates of a shared expert apart become what swiglu makes of them', async (width) => {
    const rule: RoutingRule = {
      expertCount: 8,
      groupCount: 2,
      groupsKept: 1,
      top: 2,
      isNormalised: true,
      scaling: 1,
      hasShared: true,
    }
    const rows = 3
    const values = seeded(rows * (2 * width + 8), 5, 3)
    const [activation, alone] = [bench.activation(values, 2 * width + 8), bench.activation(values, 2 * width + 8)]
    const logits = { activation, offset: 2 * width, width: 8 }
    const routes = { chosen: bench.slice(new Uint32Array(9)), weights: bench.slice(new Float32Array(9)) }
    const bias = bench.slice(new Float32Array(8))
    const y = bench.result(rows, width)
    const part = (offset: number) => ({ activation: alone, offset, width })
    await bench.run(formFor(processor, route({ logits, sharedWidth: width, bias, routes }, rule, rows)), rows)
    await bench.run([swiglu(part(0), part(width), y, rows)], rows)
    const [got, wanted] = [await bench.read(activation, rows), await bench.read(y, rows)]
    for (let row = 0; row < rows; row++) {
      const own = values.subarray(row * (2 * width + 8), (row + 1) * (2 * width + 8))
      const [hidden, rest] = [wanted.subarray(row * width, (row + 1) * width), own.subarray(width)]
      const at = got.subarray(row * own.length, (row + 1) * own.length)
      expect(bits(at)).toEqual(bits(Float32Array.from([...hidden, ...rest])))
    }
    const chosen = await bench.readU32(routes.chosen, 3)
    expect([...chosen]).toEqual(routeReference(values.subarray(2 * width), new Float32Array(8), rule).chosen)
  })
})

it('refuses more experts than the kept groups hold', () => {
  const rule: RoutingRule = {
    expertCount: 8,
    groupCount: 4,
    groupsKept: 1,
    top: 3,
    isNormalised: true,
    scaling: 1,
    hasShared: false,
  }
  const slice = bench.slice(new Float32Array(64))
  const logits = { activation: bench.activation(seeded(8, 1), 8), offset: 0, width: 8 }
  expect(() =>
    route({ logits, sharedWidth: 0, bias: slice, routes: { chosen: slice, weights: slice } }, rule, 1),
  ).toThrow(/Cannot choose 3/)
})
