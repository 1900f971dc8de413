/**
 * The routed experts' first product and SwiGLU for every (row, rank) pair: one dispatch per bank.
 *
 * Its shaders and when each runs: expert-forms.ts.
 */
import type { Dispatch } from '../gpu/program.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { expertGateUpBlock } from './expert-gate-up-block.ts'
import { expertGateUpGrouped } from './expert-gate-up-grouped.ts'
import { expertGateUpLanes } from './expert-gate-up-lanes.ts'
import { expertForms } from './expert-forms.ts'
import type { StepGroups } from './expert-groups.ts'
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
  return expertForms(
    {
      single: (rowsBelow) => expertGateUpSingle(operands, top, rowsMax, rowsBelow),
      lanes: (small) => expertGateUpLanes(operands, small),
      tile: () => expertGateUpTile(operands, top, rowsMax),
      grouped: (small) => expertGateUpGrouped(operands, small),
      block: (large) => expertGateUpBlock(operands, large, 'matrix'),
    },
    groups,
  )
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
