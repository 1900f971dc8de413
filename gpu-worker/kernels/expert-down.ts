/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * Its shaders and when each runs: expert-forms.ts.
 */
import type { Dispatch } from '../gpu/program.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { expertDownBlock } from './expert-down-block.ts'
import { expertDownGrouped } from './expert-down-grouped.ts'
import { expertDownLanes } from './expert-down-lanes.ts'
import { expertForms } from './expert-forms.ts'
import type { StepGroups } from './expert-groups.ts'
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
  return expertForms(
    {
      single: (rowsBelow) => expertDownSingle(operands, top, rowsMax, rowsBelow),
      lanes: (small) => expertDownLanes(operands, small),
      tile: () => expertDownTile(operands, top, rowsMax),
      grouped: (small) => expertDownGrouped(operands, small),
      block: (large) => expertDownBlock(operands, large, 'matrix'),
    },
    groups,
  )
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
