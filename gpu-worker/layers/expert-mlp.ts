/**
 * The MLP of an expert layer: router, routed experts, shared expert, and the layer's end up to the norm that follows.
 *
 * A shared expert is the last of every row's experts. Where it lies apart from the others, its first product is stacked
 * before the router, which reads the same rows, and its result goes where the last pair's belongs.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { Dispatch } from '../gpu/program.ts'
import type { LayerExperts } from '../kernels/bank.ts'
import { expertCombine } from '../kernels/expert-combine.ts'
import { expertDown } from '../kernels/expert-down.ts'
import { expertGateUp } from '../kernels/expert-gate-up.ts'
import { stepGroups, type StepGroupSizes } from '../kernels/expert-groups.ts'
import { matmul } from '../kernels/matmul.ts'
import { paddedColumns, type Activation, type Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { routeGrouped } from '../kernels/route-grouped.ts'
import { pairsPerRow, type Routes, type RoutingRule } from '../kernels/route.ts'

export interface ExpertMlpWeights {
  /** gate_proj and up_proj of a shared expert that lies apart, then the router: [2 · its width + experts, hidden] */
  readonly sharedAndRouter: Matrix
  /** f32 [experts]: e_score_correction_bias, zeros when the checkpoint has none. */
  readonly bias: Slice
  readonly experts: LayerExperts
  /** Of a shared expert that lies apart; null where there is none. */
  readonly sharedDown: Matrix | null
  /** The norm after the MLP; null in models without one. */
  readonly norm: NormWeight | null
}

export interface ExpertMlpScratch {
  /** f32 [rows, rows of the largest such matrix] */
  readonly sharedAndRouter: Activation
  /** f32 [rows · pairs, expert width] */
  readonly pairHidden: Activation
  /** f32 [rows · pairs, hidden] */
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
  /** The residual stream: takes in the layer's result. */
  readonly x: Activation
  /** x normed for this layer's MLP, in the end for what follows. */
  readonly normed: Activation
  /** The norm that follows; null: none. */
  readonly next: NormWeight | null
}

export function expertMlp(operands: ExpertMlpOperands, { routing, eps, rowsMax }: ExpertMlpRule): Dispatch[] {
  const { weights, scratch, routes, x, normed, next } = operands
  const { pairHidden, pairOut } = scratch
  const { experts, norm } = weights
  const first = firstProduct(weights, scratch)
  const { chosen } = routes
  const pairs = pairsPerRow(routing)
  const { expertCount } = routing
  const sharedWidth = weights.sharedDown?.columnCount ?? 0
  const logits = { activation: first, offset: 2 * sharedWidth, width: expertCount }
  const groups = stepGroups(groupSizes(routing, rowsMax), scratch.groups)
  return [
    ...matmul({ x: normed, matrix: weights.sharedAndRouter, y: first }, rowsMax),
    ...routeGrouped({ logits, sharedWidth, bias: weights.bias, routes }, groups, routing, rowsMax),
    ...expertGateUp({ chosen, x: normed, experts, h: pairHidden }, pairs, rowsMax, groups),
    ...expertDown({ chosen, h: pairHidden, experts, y: pairOut }, pairs, rowsMax, groups),
    ...sharedApart(weights, scratch, routing, rowsMax),
    ...expertCombine({ weights: routes.weights, y: pairOut, norm, x, next, normed }, pairs, eps, rowsMax),
  ]
}

/** What the router's matrix gives, of a layer whose shared expert lies apart or does not. */
function firstProduct({ sharedAndRouter }: ExpertMlpWeights, scratch: ExpertMlpScratch): Activation {
  const width = sharedAndRouter.rowCount
  return { slice: scratch.sharedAndRouter.slice, width, stride: paddedColumns(width) }
}

/** What the step's groups are of. */
export function groupSizes(routing: RoutingRule, rowsMax: number): StepGroupSizes {
  const { expertCount, hasShared } = routing
  return { expertCount: expertCount + Number(hasShared), top: pairsPerRow(routing), rowsMax }
}

/** What follows its first half, which the router's dispatches computed; nothing where no expert lies apart. */
function sharedApart(
  weights: ExpertMlpWeights,
  scratch: ExpertMlpScratch,
  { top }: RoutingRule,
  rowsMax: number,
): Dispatch[] {
  const { sharedDown } = weights
  const { pairOut } = scratch
  if (sharedDown === null) return []
  const x = { ...firstProduct(weights, scratch), width: sharedDown.columnCount }
  // All pairs of a row as one long row, of which this is the last.
  const y = { slice: pairOut.slice, width: pairOut.width, stride: (top + 1) * pairOut.stride }
  return matmul({ x, matrix: sharedDown, y, yOffset: top * pairOut.stride }, rowsMax)
}
