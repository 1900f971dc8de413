/**
 * The routed experts' second product for a step's pairs in groups: one dispatch per bank.
 *
 * Up to eight pairs of one expert a workgroup, its weights read once for them: the bits of expert-down.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { PANEL_ROWS, panelShader } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups. */
export function expertDownGrouped(operands: ExpertDownOperands, groups: ExpertGroups<4 | 8>): Dispatch[] {
  const { top, rowsMax, slice } = groups
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => {
    const { includes, chunkEights } = panelShader(width, bank.downFormat)
    return {
      program: {
        name: 'expert-down-grouped',
        source: wgsl('expert-down-grouped', ...includes, 'expert-down-groups'),
        access: DOWN_ACCESS,
        constants: { ...downConstants(operands, bank, top), PAIRS_AT: pairsAt(groups), CHUNK_EIGHTS: chunkEights },
      },
      // In place of `chosen`.
      bindings: [holding(slice, groupsBytes(groups), 'groups'), ...downBindings(operands, bank, top, rowsMax).slice(1)],
      grid: (rows) =>
        rows < groupedFrom(groups) ? null : [Math.ceil(hiddenSize / PANEL_ROWS), itemsMost(groups, rows), 1],
    }
  })
}
