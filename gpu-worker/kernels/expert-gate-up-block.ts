/**
 * The routed experts' first product and SwiGLU for a step's pairs in large groups, by blocks: one dispatch per bank.
 *
 * In the order of the contract with the bits of expert-gate-up; or by matrix units.
 */
import { holding, type Dispatch, type Products } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { blockIncludes, blockShape } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups of as many pairs as a block has activation rows. */
export function expertGateUpBlock(
  operands: ExpertGateUpOperands,
  groups: ExpertGroups<32>,
  products: Products,
): Dispatch[] {
  const { top, rowsMax, slice, together } = groups
  const { hiddenSize, width, banks } = operands.experts
  const { weightRows, rowLanes } = blockShape(together)
  return banks.map((bank) => ({
    program: {
      name: 'expert-gate-up-block',
      source: wgsl(
        'expert-gate-up-block',
        ...blockIncludes(hiddenSize, bank.gateUpFormat, products),
        'exp',
        'expert-gate-up-groups',
      ),
      access: GATE_UP_ACCESS,
      constants: { ...gateUpConstants(operands, bank, top), PAIRS_AT: pairsAt(groups), ROW_LANES: rowLanes },
    },
    // In place of `chosen`.
    bindings: [holding(slice, groupsBytes(groups), 'groups'), ...gateUpBindings(operands, bank, top, rowsMax).slice(1)],
    // Half of the rows are gate's, half up's.
    grid: (rows) =>
      rows < groupedFrom(groups) ? null : [Math.ceil(width / (weightRows / 2)), itemsMost(groups, rows), 1],
  }))
}
