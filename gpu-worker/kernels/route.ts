/**
 * Chooses each row's experts and their weights from the router's logits.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, onlyOn, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type ActivationPart } from './matrix.ts'
import { wgsl } from './wgsl.ts'

export interface RoutingRule {
  readonly expertCount: number
  readonly groupCount: number
  readonly groupsKept: number
  /** Experts a row. */
  readonly top: number
  readonly isNormalised: boolean
  readonly scaling: number
  /** A shared expert is one more of every row, the last: number `expertCount`, weight 1. */
  readonly hasShared: boolean
}

/** (row, expert) pairs of a row. */
export function pairsPerRow({ top, hasShared }: RoutingRule): number {
  return top + Number(hasShared)
}

/** Where a layer's choice lies: u32 and f32 [rows, pairs], rank order. */
export interface Routes {
  readonly chosen: Slice
  readonly weights: Slice
}

export interface RouteOperands {
  /** f32 [rows, experts]: what the router gave. */
  readonly logits: ActivationPart
  /** f32 [experts] */
  readonly bias: Slice
  readonly routes: Routes
}

/** A CPU's come eight at a time and wait badly for others; no order of lanes enters the result. */
const CPU_LANES = 8
const GPU_LANES = 256

export function route(operands: RouteOperands, rule: RoutingRule, rowsMax: number): Dispatch[] {
  const withLanes = (lanes: number): Dispatch => ({
    program: {
      name: 'route',
      source: wgsl('route', 'route-row', 'exp'),
      access: ['read', 'read', 'write', 'write'],
      constants: { LANES: lanes, ROWS: 1, ...routeConstants(operands, rule) },
    },
    bindings: routeBindings(operands, rule, rowsMax),
    grid: (rows) => [rows, 1, 1],
  })
  return [...onlyOn('cpu', [withLanes(CPU_LANES)]), ...onlyOn('gpu', [withLanes(GPU_LANES)])]
}

/** Throws a RangeError unless the rule can be kept. */
export function routeConstants({ logits }: RouteOperands, rule: RoutingRule) {
  const { expertCount, groupCount, groupsKept, top } = rule
  if (logits.width !== expertCount || expertCount % groupCount !== 0 || groupsKept > groupCount) {
    throw new RangeError(`Shapes do not fit: logits ${logits.width}, experts ${expertCount} in ${groupCount} groups`)
  }
  if (top > (expertCount / groupCount) * groupsKept) {
    throw new RangeError(`Cannot choose ${top} experts from ${groupsKept} of ${groupCount} groups of ${expertCount}`)
  }
  return {
    EXPERTS: expertCount,
    GROUPS: groupCount,
    GROUPS_KEPT: groupsKept,
    TOP: top,
    PAIRS: pairsPerRow(rule),
    X_STRIDE: logits.activation.stride,
    X_OFFSET: logits.offset,
    NORMALISE: Number(rule.isNormalised),
    SCALING: rule.scaling,
  }
}

export function routeBindings({ logits, bias, routes }: RouteOperands, rule: RoutingRule, rowsMax: number): Slice[] {
  const pairsBytes = rowsMax * pairsPerRow(rule) * 4
  return [
    holding(logits.activation.slice, bytesOfRows(logits.activation, rowsMax), 'logits'),
    holding(bias, rule.expertCount * 4, 'bias'),
    holding(routes.chosen, pairsBytes, 'chosen'),
    holding(routes.weights, pairsBytes, 'weights'),
  ]
}
