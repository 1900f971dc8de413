/**
 * Chooses each row's experts and their weights from the router's logits. The same dispatch ends the first half of a shared
 * expert that lies apart, whose product was the router's too.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, onlyOn, type Dispatch, type Grid } from '../gpu/program.ts'
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
  /** f32 [rows, experts]: what the router gave, behind the gate and up values of a shared expert that lies apart. */
  readonly logits: ActivationPart
  /** Values of each of those, 0 where there are none: SwiGLU of both goes in the gates' place. */
  readonly sharedWidth: number
  /** f32 [experts] */
  readonly bias: Slice
  readonly routes: Routes
}

/** A CPU's come eight at a time and wait badly for others; no order of lanes enters the result. */
const CPU_LANES = 8
const GPU_LANES = 256
/** Values of a shared expert that a workgroup takes. */
const SHARED_TILE = 512

export function route(operands: RouteOperands, rule: RoutingRule, rowsMax: number): Dispatch[] {
  const withLanes = (lanes: number): Dispatch => ({
    program: {
      name: 'route',
      source: wgsl('route', 'route-row', 'shared-hidden', 'exp'),
      access: ['write', 'read', 'write', 'write'],
      constants: { LANES: lanes, ROWS: 1, ...routeConstants(operands, rule) },
    },
    bindings: routeBindings(operands, rule, rowsMax),
    grid: (rows) => routeGrid(operands, rows),
  })
  return [...onlyOn('cpu', [withLanes(CPU_LANES)]), ...onlyOn('gpu', [withLanes(GPU_LANES)])]
}

export function routeGrid({ sharedWidth }: RouteOperands, rows: number): Grid {
  return [rows, 1 + Math.ceil(sharedWidth / SHARED_TILE), 1]
}

/** Throws a RangeError unless the rule can be kept. */
export function routeConstants({ logits, sharedWidth }: RouteOperands, rule: RoutingRule) {
  const { expertCount, groupCount, groupsKept, top } = rule
  if (logits.width !== expertCount || expertCount % groupCount !== 0 || groupsKept > groupCount) {
    throw new RangeError(`Shapes do not fit: logits ${logits.width}, experts ${expertCount} in ${groupCount} groups`)
  }
  if (logits.offset < 2 * sharedWidth) {
    throw new RangeError(`Shapes do not fit: logits from ${logits.offset} on, a shared expert of ${sharedWidth} before`)
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
    SHARED: sharedWidth,
    SHARED_TILE,
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
