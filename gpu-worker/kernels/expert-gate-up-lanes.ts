/**
 * The routed experts' first product and SwiGLU for a step's pairs in groups, on CPU adapters that have subgroups: one
 * dispatch per bank.
 *
 * Up to eight pairs of one expert a workgroup of eight lanes, its weights decoded once for them: the bits of expert-gate-up.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { LANES_ROWS, lanesIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups. */
export function expertGateUpLanes(operands: ExpertGateUpOperands, groups: ExpertGroups<8>): Dispatch[] {
  const { top, rowsMax, slice } = groups
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    subgroups: true,
    program: {
      name: 'expert-gate-up-lanes',
      source: wgsl(
        'expert-gate-up-lanes',
        ...lanesIncludes(hiddenSize, bank.gateUpFormat),
        'exp',
        'expert-gate-up-groups',
      ),
      access: GATE_UP_ACCESS,
      constants: { ...gateUpConstants(operands, bank, top), PAIRS_AT: pairsAt(groups) },
    },
    // In place of `chosen`.
    bindings: [holding(slice, groupsBytes(groups), 'groups'), ...gateUpBindings(operands, bank, top, rowsMax).slice(1)],
    grid: (rows) =>
      rows < groupedFrom(groups, 'cpu') ? null : [Math.ceil(width / LANES_ROWS), itemsMost(groups, rows), 1],
  }))
}
