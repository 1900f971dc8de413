/**
 * The MLP of an expert layer: router, routed experts, shared expert, and the layer's end up to the norm that follows.
 *
 * A shared expert is the last of every row's experts. Where it lies apart from the others, its first product is stacked
 * with the router, which reads the same rows, and its result goes where the last pair's belongs.
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
import { swiglu } from '../kernels/swiglu.ts'

export interface ExpertMlpWeights {
  /** Router, then gate_proj and up_proj of a shared expert that lies apart: [experts + 2 · its width, hidden] */
  readonly routerAndShared: Matrix
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
  readonly routerAndShared: Activation
  /** f32 [rows, shared width]: for shared experts that lie apart. */
  readonly sharedHidden: Activation | null
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
  const routerAndShared = firstProduct(weights, scratch)
  const { chosen } = routes
  const pairs = pairsPerRow(routing)
  const logits = { activation: routerAndShared, offset: 0, width: routing.expertCount }
  const groups = stepGroups(groupSizes(routing, rowsMax), scratch.groups)
  return [
    ...matmul({ x: normed, matrix: weights.routerAndShared, y: routerAndShared }, rowsMax),
    ...routeGrouped({ logits, bias: weights.bias, routes }, groups, routing, rowsMax),
    ...expertGateUp({ chosen, x: normed, experts, h: pairHidden }, pairs, rowsMax, groups),
    ...expertDown({ chosen, h: pairHidden, experts, y: pairOut }, pairs, rowsMax, groups),
    ...sharedApart(weights, scratch, routing, rowsMax),
    ...expertCombine({ weights: routes.weights, y: pairOut, norm, x, next, normed }, pairs, eps, rowsMax),
  ]
}

/** What the router's matrix gives, of a layer whose shared expert lies apart or does not. */
function firstProduct({ routerAndShared }: ExpertMlpWeights, scratch: ExpertMlpScratch): Activation {
  const width = routerAndShared.rowCount
  return { slice: scratch.routerAndShared.slice, width, stride: paddedColumns(width) }
}

/** What the step's groups are of. */
export function groupSizes(routing: RoutingRule, rowsMax: number): StepGroupSizes {
  const { expertCount, hasShared } = routing
  return { expertCount: expertCount + Number(hasShared), top: pairsPerRow(routing), rowsMax }
}

/** What follows its first product, which the router's dispatch computed; nothing where no expert lies apart. */
function sharedApart(
  weights: ExpertMlpWeights,
  scratch: ExpertMlpScratch,
  { expertCount, top }: RoutingRule,
  rowsMax: number,
): Dispatch[] {
  const { sharedDown } = weights
  const { sharedHidden, pairOut } = scratch
  const routerAndShared = firstProduct(weights, scratch)
  if (sharedDown === null) return []
  if (sharedHidden === null) throw new RangeError('No scratch for a shared expert apart')
  const part = (offset: number) => ({ activation: routerAndShared, offset, width: sharedHidden.width })
  // All pairs of a row as one long row, of which this is the last.
  const y = { slice: pairOut.slice, width: pairOut.width, stride: (top + 1) * pairOut.stride }
  return [
    swiglu(part(expertCount), part(expertCount + sharedHidden.width), sharedHidden, rowsMax),
    ...matmul({ x: sharedHidden, matrix: sharedDown, y, yOffset: top * pairOut.stride }, rowsMax),
  ]
}
