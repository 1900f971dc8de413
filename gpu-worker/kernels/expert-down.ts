/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * Several shaders, one arithmetic: workgroups for 32 values of one pair or of a group on a GPU; on a CPU a lane for four of
 * one pair, or eight lanes for a group. Matrix units have an arithmetic of their own, by blocks.
 */
import { inStepsBelow, onlyBy, onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { expertDownBlock } from './expert-down-block.ts'
import { expertDownGrouped } from './expert-down-grouped.ts'
import { expertDownLanes } from './expert-down-lanes.ts'
import { groupedFrom, type ExpertGroups, type StepGroups } from './expert-groups.ts'
import { expertDownTile } from './expert-down-tile.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256

/** `groups`: where they are, if any. */
export function expertDown(
  operands: ExpertDownOperands,
  top: number,
  rowsMax: number,
  groups: StepGroups | null = null,
): Dispatch[] {
  return [
    ...onlyBy('ordered', [
      ...onlyOn('cpu', onCpu(operands, top, rowsMax, groups?.small ?? null)),
      ...onlyOn('gpu', groups === null ? expertDownTile(operands, top, rowsMax) : ofGroups(operands, groups)),
    ]),
    // Every row count by the same loop.
    ...onlyBy('matrix', groups === null ? [] : expertDownBlock(operands, groups.large, 'matrix')),
  ]
}

/** Pair by pair, then the pairs of an expert in groups. */
function ofGroups(operands: ExpertDownOperands, { small }: StepGroups): Dispatch[] {
  const single = expertDownTile(operands, small.top, small.rowsMax)
  return [...inStepsBelow(groupedFrom(small), single), ...expertDownGrouped(operands, small)]
}

/** In groups where lanes can pass activations around: it takes a load to get one. */
function onCpu(operands: ExpertDownOperands, top: number, rowsMax: number, groups: ExpertGroups<8> | null): Dispatch[] {
  if (groups === null) return expertDownSingle(operands, top, rowsMax)
  const rowsBelow = groupedFrom(groups, 'cpu')
  return [
    ...withSubgroups(false, expertDownSingle(operands, top, rowsMax)),
    ...withSubgroups(true, expertDownSingle(operands, top, rowsMax, rowsBelow)),
    ...expertDownLanes(operands, groups),
  ]
}

/** Four values of one pair a lane; for steps of fewer than `rowsBelow` rows. */
export function expertDownSingle(
  operands: ExpertDownOperands,
  top: number,
  rowsMax: number,
  rowsBelow = Infinity,
): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    program: {
      name: 'expert-down',
      source: wgsl('expert-down', ...weightIncludes(width, bank.downFormat)),
      access: DOWN_ACCESS,
      constants: downConstants(operands, bank, top),
    },
    bindings: downBindings(operands, bank, top, rowsMax),
    grid: (rows) => (rows < rowsBelow ? [Math.ceil(hiddenSize / WORKGROUP_ROWS), top, rows] : null),
  }))
}
