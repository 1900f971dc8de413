/** The expert MLP as a whole: router, routed and shared experts, rank order and norm, against f64. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertCombineReference } from '../../gpu-worker/kernels/expert-combine.ref.ts'
import { expertDownReference } from '../../gpu-worker/kernels/expert-down.ref.ts'
import { expertGateUpReference } from '../../gpu-worker/kernels/expert-gate-up.ref.ts'
import { groupsBytes } from '../../gpu-worker/kernels/expert-groups.ts'
import { matmulReference } from '../../gpu-worker/kernels/matmul.ref.ts'
import { routeReference } from '../../gpu-worker/kernels/route.ref.ts'
import { expertMlp, groupSizes } from '../../gpu-worker/layers/expert-mlp.ts'
import { expertBank } from '../fixtures/expert-bank.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterAll(() => bench.close())

const EPS = 1e-6
const [hidden, width, sharedWidth] = [40, 24, 48]
const routing = { expertCount: 12, groupCount: 3, groupsKept: 2, top: 3, isNormalised: true, scaling: 2.5 }

function weight(count: number, seed: number): Float32Array {
  return rounded(seeded(count, seed, 0.3), 'bf16')
}

/** Operands hold the step's rows rounded up to whole groups of four. */
it.each([
  [1, true],
  [3, true],
  [6, true],
  [1, false],
  [6, false],
])('%i rows, with a shared expert: %s', async (rows, hasShared) => {
  const rowsMax = Math.ceil(rows / 4) * 4
  const { experts, values } = expertBank(bench, {
    expertCount: 12,
    hiddenSize: hidden,
    width,
    bankCount: 2,
    format: 'bf16',
  })
  const [router, gate, up] = [
    weight(12 * hidden, 80),
    weight(sharedWidth * hidden, 81),
    weight(sharedWidth * hidden, 82),
  ]
  const [down, norm, bias] = [weight(hidden * sharedWidth, 83), weight(hidden, 84), seeded(12, 85, 0.1)]
  const x = seeded(rows * hidden, 86, 0.5)
  const pairs = rowsMax * routing.top
  const delta = bench.result(rows, hidden)
  const operands = {
    weights: {
      routerAndShared: bench.matrix(
        Float32Array.from(hasShared ? [...router, ...gate, ...up] : router),
        hidden,
        'bf16',
        50,
      ),
      bias: bench.slice(bias),
      experts,
      sharedDown: hasShared ? bench.matrix(down, sharedWidth, 'bf16') : null,
      norm: bench.norm(norm, 'bf16'),
    },
    scratch: {
      routerAndShared: bench.result(rows, 12 + (hasShared ? 2 * sharedWidth : 0)),
      shared: hasShared ? { hidden: bench.result(rows, sharedWidth), out: bench.result(rows, hidden) } : null,
      pairHidden: bench.result(pairs, width),
      pairOut: bench.result(pairs, hidden),
      groups: bench.slice(new Uint32Array(groupsBytes(groupSizes(12, routing.top, rowsMax)) / 4)),
    },
    routes: { chosen: bench.slice(new Uint32Array(pairs)), weights: bench.slice(new Float32Array(pairs)) },
    normed: bench.activation(x, hidden),
    delta,
  }
  await bench.run(expertMlp(operands, { routing, eps: EPS, rowsMax }), rows)
  const got = await bench.read(delta, rows)
  for (let row = 0; row < rows; row++) {
    const own = x.subarray(row * hidden, (row + 1) * hidden)
    const { chosen, weights } = routeReference(matmulReference(own, router), bias, routing)
    const y = chosen.map((expert) => {
      const { gate: g, up: u, down: d } = values[expert] ?? { gate: [], up: [], down: [] }
      return expertDownReference(expertGateUpReference(own, g, u), d)
    })
    const shared = hasShared
      ? expertDownReference(expertGateUpReference(own, gate, up), down)
      : new Float64Array(hidden)
    const wanted = expertCombineReference(weights, y, shared, norm, EPS)
    expect(worstError(got.subarray(row * hidden, (row + 1) * hidden), wanted, 1)).toBeLessThan(1e-5)
  }
})
