/**
 * Chooses every row's experts and sorts the step's pairs by expert where its products want that: in one dispatch while a
 * single workgroup is quick enough for both, in two beyond.
 */
import { holding, onlyBy, withSubgroups, type Dispatch, type Processor } from '../gpu/program.ts'
import {
  byGroups,
  expertGroups,
  groupedFrom,
  groupsBytes,
  pairsAt,
  type ExpertGroups,
  type StepGroups,
} from './expert-groups.ts'
import { route, routeBindings, routeConstants, routeGrid, type RouteOperands, type RoutingRule } from './route.ts'
import { wgsl } from './wgsl.ts'

/** Rows of a step that one workgroup routes, one after the other. */
const ROWS_TOGETHER_MAX = 64
/** Of those, at the same time: what their scores take fits any adapter's workgroup memory. */
const ROWS_AT_ONCE = 8
/** At least one an expert on GPUs; CPUs like eight. */
const LANES: Readonly<Record<Processor, number>> = { cpu: 8, gpu: 256 }

/** On CPUs without subgroups nobody asks for groups. */
export function routeGrouped(
  operands: RouteOperands,
  groups: StepGroups,
  rule: RoutingRule,
  rowsMax: number,
): Dispatch[] {
  const { small, large } = groups
  const { chosen } = operands.routes
  const routedOn = (processor: Processor): Dispatch[] =>
    route(operands, rule, rowsMax).filter((dispatch) => dispatch.processor === processor)
  const alone = (own: ExpertGroups, processor: Processor): Dispatch[] =>
    when((rows) => !isTogether(own, processor, rows), routedOn(processor))
  return [
    ...onlyBy('ordered', alone(small, 'gpu')),
    ...onlyBy('matrix', alone(large, 'gpu')),
    ...withSubgroups(true, alone(small, 'cpu')),
    ...withSubgroups(false, routedOn('cpu')),
    ...byGroups(groups, (own, processor) => [
      ...when((rows) => isTogether(own, processor, rows), [together(operands, own, rule, rowsMax, LANES[processor])]),
      ...when((rows) => !isTogether(own, processor, rows), [expertGroups(chosen, own, processor)]),
    ]),
  ]
}

function isTogether(groups: ExpertGroups, processor: Processor, rows: number): boolean {
  return rows >= groupedFrom(groups, processor) && rows <= ROWS_TOGETHER_MAX
}

function together(
  operands: RouteOperands,
  groups: ExpertGroups,
  rule: RoutingRule,
  rowsMax: number,
  lanes: number,
): Dispatch {
  return {
    program: {
      name: 'route-grouped',
      source: wgsl('route-grouped', 'route-row', 'shared-hidden', 'sort-pairs', 'exp'),
      access: ['write', 'read', 'write', 'write', 'write'],
      constants: {
        LANES: lanes,
        ROWS: ROWS_AT_ONCE,
        ...routeConstants(operands, rule),
        EXPERT_COUNT: groups.expertCount,
        GROUP: groups.together,
        PAIRS_AT: pairsAt(groups),
      },
    },
    bindings: [...routeBindings(operands, rule, rowsMax), holding(groups.slice, groupsBytes(groups), 'groups')],
    grid: (rows) => routeGrid(operands, rows),
  }
}

/** The dispatches, in steps of such row counts alone. */
function when(isIn: (rows: number) => boolean, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({ ...dispatch, grid: (rows) => (isIn(rows) ? dispatch.grid(rows) : null) }))
}
