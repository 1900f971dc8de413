/**
 * The routed experts' first product and SwiGLU for every (row, rank) pair: one dispatch per bank.
 *
 * Several shaders, one arithmetic: workgroups for 32 values of one pair or of a group on a GPU; on a CPU a lane for four of
 * one pair, or eight lanes for a group. Matrix units have an arithmetic of their own, by blocks.
 */
import { inStepsBelow, onlyBy, onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { expertGateUpBlock } from './expert-gate-up-block.ts'
import { expertGateUpGrouped } from './expert-gate-up-grouped.ts'
import { expertGateUpLanes } from './expert-gate-up-lanes.ts'
import { groupedFrom, type ExpertGroups, type StepGroups } from './expert-groups.ts'
import { expertGateUpTile } from './expert-gate-up-tile.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256

/** `groups`: where they are, if any. */
export function expertGateUp(
  operands: ExpertGateUpOperands,
  top: number,
  rowsMax: number,
  groups: StepGroups | null = null,
): Dispatch[] {
  return [
    ...onlyBy('ordered', [
      ...onlyOn('cpu', onCpu(operands, top, rowsMax, groups?.small ?? null)),
      ...onlyOn('gpu', groups === null ? expertGateUpTile(operands, top, rowsMax) : ofGroups(operands, groups)),
    ]),
    // Every row count by the same loop.
    ...onlyBy('matrix', groups === null ? [] : expertGateUpBlock(operands, groups.large, 'matrix')),
  ]
}

/** Pair by pair, then the pairs of an expert in groups. */
function ofGroups(operands: ExpertGateUpOperands, { small }: StepGroups): Dispatch[] {
  const single = expertGateUpTile(operands, small.top, small.rowsMax)
  return [...inStepsBelow(groupedFrom(small), single), ...expertGateUpGrouped(operands, small)]
}

/** In groups where lanes can pass activations around: it takes a load to get one. */
function onCpu(
  operands: ExpertGateUpOperands,
  top: number,
  rowsMax: number,
  groups: ExpertGroups<8> | null,
): Dispatch[] {
  if (groups === null) return expertGateUpSingle(operands, top, rowsMax)
  const rowsBelow = groupedFrom(groups, 'cpu')
  return [
    ...withSubgroups(false, expertGateUpSingle(operands, top, rowsMax)),
    ...withSubgroups(true, expertGateUpSingle(operands, top, rowsMax, rowsBelow)),
    ...expertGateUpLanes(operands, groups),
  ]
}

/** Four values of one pair a lane; for steps of fewer than `rowsBelow` rows. */
export function expertGateUpSingle(
  operands: ExpertGateUpOperands,
  top: number,
  rowsMax: number,
  rowsBelow = Infinity,
): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    program: {
      name: 'expert-gate-up',
      source: wgsl('expert-gate-up', ...weightIncludes(hiddenSize, bank.gateUpFormat), 'exp'),
      access: GATE_UP_ACCESS,
      constants: gateUpConstants(operands, bank, top),
    },
    bindings: gateUpBindings(operands, bank, top, rowsMax),
    grid: (rows) => (rows < rowsBelow ? [Math.ceil(width / WORKGROUP_ROWS), top, rows] : null),
  }))
}
