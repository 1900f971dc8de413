/**
 * The routed experts' second product for a step's pairs in large groups, by blocks: one dispatch per bank.
 *
 * In the order of the contract with the bits of expert-down; or by matrix units.
 */
import { holding, type Dispatch, type Products } from '../gpu/program.ts'
import { groupedFrom, groupsBytes, itemsMost, pairsAt, type ExpertGroups } from './expert-groups.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { blockIncludes, blockShape } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** For steps that have groups of as many pairs as a block has activation rows. */
export function expertDownBlock(
  operands: ExpertDownOperands,
  groups: ExpertGroups<32>,
  products: Products,
): Dispatch[] {
  const { top, rowsMax, slice, together } = groups
  const { hiddenSize, width, banks } = operands.experts
  const { weightRows, rowLanes } = blockShape(together)
  return banks.map((bank) => ({
    program: {
      name: 'expert-down-block',
      source: wgsl('expert-down-block', ...blockIncludes(width, bank.downFormat, products), 'expert-down-groups'),
      access: DOWN_ACCESS,
      constants: { ...downConstants(operands, bank, top), PAIRS_AT: pairsAt(groups), ROW_LANES: rowLanes },
    },
    // In place of `chosen`.
    bindings: [holding(slice, groupsBytes(groups), 'groups'), ...downBindings(operands, bank, top, rowsMax).slice(1)],
    grid: (rows) =>
      rows < groupedFrom(groups) ? null : [Math.ceil(hiddenSize / weightRows), itemsMost(groups, rows), 1],
  }))
}
