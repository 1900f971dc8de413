/**
 * The routed experts' second product for a step's pairs in groups, on CPU adapters that have subgroups: one dispatch per bank.
 *
 * Up to eight pairs of one expert a workgroup of eight lanes, its weights decoded once for them: the bits of expert-down.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { LANES_ROWS, lanesIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups. */
export function expertDownLanes(operands: ExpertDownOperands, groups: ExpertGroups<8>): Dispatch[] {
  const { top, rowsMax, slice } = groups
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    subgroups: true,
    program: {
      name: 'expert-down-lanes',
      source: wgsl('expert-down-lanes', ...lanesIncludes(width, bank.downFormat), 'expert-down-groups'),
      access: DOWN_ACCESS,
      constants: { ...downConstants(operands, bank, top), PAIRS_AT: pairsAt(groups) },
    },
    // In place of `chosen`.
    bindings: [holding(slice, groupsBytes(groups), 'groups'), ...downBindings(operands, bank, top, rowsMax).slice(1)],
    grid: (rows) =>
      rows < groupedFrom(groups, 'cpu') ? null : [Math.ceil(hiddenSize / LANES_ROWS), itemsMost(groups, rows), 1],
  }))
}
