/**
 * The MLP of an expert layer: router, routed experts, shared expert, combination, norm. The result is `delta`.
 *
 * Router and the shared expert's first product read the same rows, so their matrices are stacked: one product.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { Dispatch } from '../gpu/program.ts'
import type { LayerExperts } from '../kernels/bank.ts'
import { expertCombine } from '../kernels/expert-combine.ts'
import { expertDown } from '../kernels/expert-down.ts'
import { expertGateUp } from '../kernels/expert-gate-up.ts'
import { matmul } from '../kernels/matmul.ts'
import type { Activation, Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { route, type Routes, type RoutingRule } from '../kernels/route.ts'
import { swiglu } from '../kernels/swiglu.ts'

export interface ExpertMlpWeights {
  /** Router, then the shared expert's gate_proj and up_proj: [experts + 2 · shared width, hidden] */
  readonly routerAndShared: Matrix
  /** f32 [experts]: e_score_correction_bias, zeros when the checkpoint has none. */
  readonly bias: Slice
  readonly experts: LayerExperts
  readonly sharedDown: Matrix
  /** The norm after the MLP; null in models without one. */
  readonly norm: NormWeight | null
}

export interface ExpertMlpScratch {
  /** f32 [rows, experts + 2 · shared width] */
  readonly routerAndShared: Activation
  /** f32 [rows, shared width] */
  readonly sharedHidden: Activation
  /** f32 [rows, hidden] */
  readonly sharedOut: Activation
  /** f32 [rows · top, expert width] */
  readonly pairHidden: Activation
  /** f32 [rows · top, hidden] */
  readonly pairOut: Activation
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
  const { routerAndShared, sharedHidden, sharedOut, pairHidden, pairOut } = scratch
  const { expertCount, top } = routing
  const part = (offset: number, width: number) => ({ activation: routerAndShared, offset, width })
  const gate = part(expertCount, sharedHidden.width)
  const up = part(expertCount + sharedHidden.width, sharedHidden.width)
  const { experts, norm } = weights
  const { chosen } = routes
  return [
    ...matmul({ x: normed, matrix: weights.routerAndShared, y: routerAndShared }, rowsMax),
    route(part(0, expertCount), weights.bias, routes, routing, rowsMax),
    swiglu(gate, up, sharedHidden, rowsMax),
    ...expertGateUp({ chosen, x: normed, experts, h: pairHidden }, top, rowsMax),
    ...matmul({ x: sharedHidden, matrix: weights.sharedDown, y: sharedOut }, rowsMax),
    ...expertDown({ chosen, h: pairHidden, experts, y: pairOut }, top, rowsMax),
    expertCombine({ weights: routes.weights, y: pairOut, shared: sharedOut, norm, delta }, top, eps, rowsMax),
  ]
}
