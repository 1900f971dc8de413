/**
 * The MLP of an expert layer: router, routed experts, shared expert, combination, norm. The result is `delta`.
 *
 * Router and the shared expert's first product read the same rows, so their matrices are stacked: one product.
 */
import type { Slice } from '../gpu/buffers.ts'
import { onlyOn, type Dispatch } from '../gpu/program.ts'
import type { LayerExperts } from '../kernels/bank.ts'
import { expertCombine } from '../kernels/expert-combine.ts'
import { expertDown } from '../kernels/expert-down.ts'
import { expertGateUp } from '../kernels/expert-gate-up.ts'
import { expertGroups, type GroupSizes } from '../kernels/expert-groups.ts'
import { matmul } from '../kernels/matmul.ts'
import type { Activation, Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { route, type Routes, type RoutingRule } from '../kernels/route.ts'
import { swiglu } from '../kernels/swiglu.ts'

export interface ExpertMlpWeights {
  /** Router, then the shared expert's gate_proj and up_proj, if any: [experts + 2 · shared width, hidden] */
  readonly routerAndShared: Matrix
  /** f32 [experts]: e_score_correction_bias, zeros when the checkpoint has none. */
  readonly bias: Slice
  readonly experts: LayerExperts
  /** Null in models without a shared expert, as is their `shared` scratch. */
  readonly sharedDown: Matrix | null
  /** The norm after the MLP; null in models without one. */
  readonly norm: NormWeight | null
}

export interface ExpertMlpScratch {
  /** f32 [rows, experts + 2 · shared width] */
  readonly routerAndShared: Activation
  /** f32 [rows, shared width] and f32 [rows, hidden] */
  readonly shared: { readonly hidden: Activation; readonly out: Activation } | null
  /** f32 [rows · top, expert width] */
  readonly pairHidden: Activation
  /** f32 [rows · top, hidden] */
  readonly pairOut: Activation
  /** The step's pairs by expert. */
  readonly groups: Slice
}

export interface ExpertMlpRule {
  readonly routing: RoutingRule
  readonly eps: number
  readonly rowsMax: number
}

export interface ExpertMlpOperands {
  readonly weights: ExpertMlpWeights
  readonly scratch: ExpertMlpScratch
  /** This layer's choice, kept until the step ends. */
  readonly routes: Routes
  readonly normed: Activation
  readonly delta: Activation
}

export function expertMlp(operands: ExpertMlpOperands, { routing, eps, rowsMax }: ExpertMlpRule): Dispatch[] {
  const { weights, scratch, routes, normed, delta } = operands
  const { routerAndShared, pairHidden, pairOut } = scratch
  const { expertCount, top } = routing
  const scores = { activation: routerAndShared, offset: 0, width: expertCount }
  const { experts, norm } = weights
  const shared = sharedExpert(weights, scratch, expertCount, rowsMax)
  const { chosen } = routes
  const groups = { ...groupSizes(expertCount, top, rowsMax), slice: scratch.groups }
  return [
    ...matmul({ x: normed, matrix: weights.routerAndShared, y: routerAndShared }, rowsMax),
    route(scores, weights.bias, routes, routing, rowsMax),
    ...onlyOn('gpu', [expertGroups(chosen, groups)]),
    ...shared.toHidden,
    ...expertGateUp({ chosen, x: normed, experts, h: pairHidden }, top, rowsMax, groups),
    ...shared.toOut,
    ...expertDown({ chosen, h: pairHidden, experts, y: pairOut }, top, rowsMax, groups),
    expertCombine({ weights: routes.weights, y: pairOut, shared: shared.out, norm, delta }, top, eps, rowsMax),
  ]
}

/** Groups of eight: what the registers of a lane hold beside four rows of a matrix. */
export function groupSizes(expertCount: number, top: number, rowsMax: number): GroupSizes {
  return { expertCount, top, rowsMax, together: 8 }
}

interface SharedExpert {
  readonly toHidden: readonly Dispatch[]
  readonly toOut: readonly Dispatch[]
  readonly out: Activation | null
}

/** What follows its first product, which the router's dispatch computed; nothing in models without one. */
function sharedExpert(
  { sharedDown }: ExpertMlpWeights,
  { routerAndShared, shared }: ExpertMlpScratch,
  expertCount: number,
  rowsMax: number,
): SharedExpert {
  if (sharedDown === null || shared === null) {
    if (sharedDown !== shared) throw new RangeError('A shared expert needs both its weights and its scratch')
    return { toHidden: [], toOut: [], out: null }
  }
  const { hidden, out } = shared
  const part = (offset: number) => ({ activation: routerAndShared, offset, width: hidden.width })
  return {
    toHidden: [swiglu(part(expertCount), part(expertCount + hidden.width), hidden, rowsMax)],
    toOut: matmul({ x: hidden, matrix: sharedDown, y: out }, rowsMax),
    out,
  }
}
