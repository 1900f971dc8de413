/** The expert MLP as a whole: router, routed and shared experts, rank order and norms, against f64. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expertCombineReference } from '../../gpu-worker/kernels/expert-combine.ref.ts'
import { expertDownReference } from '../../gpu-worker/kernels/expert-down.ref.ts'
import { expertGateUpReference } from '../../gpu-worker/kernels/expert-gate-up.ref.ts'
import { stepGroupsBytes } from '../../gpu-worker/kernels/expert-groups.ts'
import { matmulReference } from '../../gpu-worker/kernels/matmul.ref.ts'
import { routeReference } from '../../gpu-worker/kernels/route.ref.ts'
import { pairsPerRow } from '../../gpu-worker/kernels/route.ts'
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
const rule = { expertCount: 12, groupCount: 3, groupsKept: 2, top: 3, isNormalised: true, scaling: 2.5 }

function weight(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(rounded(seeded(count, seed, 0.3), 'bf16'))
}

/** Operands hold the step's rows rounded up to whole groups of four. */
it.each([
  [1, 'apart'],
  [3, 'apart'],
  [6, 'apart'],
  [1, 'among the others'],
  [6, 'among the others'],
  [1, 'nowhere'],
  [6, 'nowhere'],
] as const)('%i rows, a shared expert that lies %s', async (rows, where) => {
  const [hasShared, isApart] = [where !== 'nowhere', where === 'apart']
  const routing = { ...rule, hasShared }
  const rowsMax = Math.ceil(rows / 4) * 4
  const { experts, values } = expertBank(bench, {
    expertCount: where === 'among the others' ? 13 : 12,
    apartCount: Number(isApart),
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
  const [input, stream, next] = [seeded(rows * hidden, 86, 0.5), seeded(rows * hidden, 87), weight(hidden, 88)]
  const pairs = rowsMax * pairsPerRow(routing)
  const [x, normed] = [bench.activation(stream, hidden), bench.activation(input, hidden)]
  const operands = {
    weights: {
      sharedAndRouter: bench.matrix(
        Float32Array.from(isApart ? [...gate, ...up, ...router] : router),
        hidden,
        'bf16',
        50,
      ),
      bias: bench.slice(bias),
      experts,
      sharedDown: isApart ? bench.matrix(down, sharedWidth, 'bf16') : null,
      norm: bench.norm(norm),
    },
    scratch: {
      sharedAndRouter: bench.result(rows, 12 + 2 * sharedWidth),
      pairHidden: bench.result(pairs, width),
      pairOut: bench.result(pairs, hidden),
      groups: bench.slice(new Uint32Array(stepGroupsBytes(groupSizes(routing, rowsMax)) / 4)),
    },
    routes: { chosen: bench.slice(new Uint32Array(pairs)), weights: bench.slice(new Float32Array(pairs)) },
    x,
    normed,
    next: bench.norm(next),
  }
  await bench.run(expertMlp(operands, { routing, eps: EPS, rowsMax }), rows)
  const [gotX, got] = [await bench.read(x, rows), await bench.read(normed, rows)]
  for (let row = 0; row < rows; row++) {
    const at = [row * hidden, (row + 1) * hidden] as const
    const own = input.subarray(...at)
    const { chosen, weights } = routeReference(matmulReference(own, router), bias, routing)
    const y = chosen.map((expert) => {
      const { gate: g, up: u, down: d } = isApart && expert === 12 ? { gate, up, down } : (values[expert] ?? never())
      return expertDownReference(expertGateUpReference(own, g, u), d)
    })
    const wanted = expertCombineReference(weights, y, norm, stream.subarray(...at), next, EPS)
    expect(worstError(gotX.subarray(...at), wanted.x, 1)).toBeLessThan(1e-5)
    expect(worstError(got.subarray(...at), wanted.normed ?? [], 1)).toBeLessThan(1e-5)
  }
})

function never(): never {
  throw new RangeError('No such expert')
}
