/**
 * The routed experts' first product and SwiGLU for a step's pairs in groups: one dispatch per bank.
 *
 * Up to eight pairs of one expert a workgroup, its weights read once for them: the bits of expert-gate-up.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { PANEL_ROWS, panelShader } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups. */
export function expertGateUpGrouped(operands: ExpertGateUpOperands, groups: ExpertGroups<4 | 8>): Dispatch[] {
  const { top, rowsMax, slice } = groups
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => {
    const { includes, chunkEights } = panelShader(hiddenSize, bank.gateUpFormat)
    return {
      program: {
        name: 'expert-gate-up-grouped',
        source: wgsl('expert-gate-up-grouped', ...includes, 'exp', 'expert-gate-up-groups'),
        access: GATE_UP_ACCESS,
        constants: { ...gateUpConstants(operands, bank, top), PAIRS_AT: pairsAt(groups), CHUNK_EIGHTS: chunkEights },
      },
      // In place of `chosen`.
      bindings: [
        holding(slice, groupsBytes(groups), 'groups'),
        ...gateUpBindings(operands, bank, top, rowsMax).slice(1),
      ],
      // Half of a panel's rows are gate's, half up's.
      grid: (rows) =>
        rows < groupedFrom(groups) ? null : [Math.ceil(width / (PANEL_ROWS / 2)), itemsMost(groups, rows), 1],
    }
  })
}
