/**
 * Which of an expert product's shaders run in a step: the same choice for both products.
 *
 * Several shaders, one arithmetic: workgroups for 32 values of one pair or of a group on a GPU; on a CPU a lane for four of
 * one pair, or eight lanes for a group. Matrix units have an arithmetic of their own, by blocks. Knows no operands.
 */
import { inStepsBelow, onlyBy, onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import { groupedFrom, type ExpertGroups, type StepGroups } from './expert-groups.ts'

/** A product's shaders over its operands. */
export interface ExpertForms {
  /** Four values of one pair a lane; in steps of fewer than `rowsBelow` rows. */
  readonly single: (rowsBelow?: number) => Dispatch[]
  readonly lanes: (groups: ExpertGroups<8>) => Dispatch[]
  readonly tile: () => Dispatch[]
  readonly grouped: (groups: ExpertGroups<8>) => Dispatch[]
  /** For matrix units. */
  readonly block: (groups: StepGroups['large']) => Dispatch[]
}

/** `groups`: where they are, if any. */
export function expertForms(forms: ExpertForms, groups: StepGroups | null): Dispatch[] {
  if (groups === null) return onlyBy('ordered', [...onlyOn('cpu', forms.single()), ...onlyOn('gpu', forms.tile())])
  const { small, large } = groups
  return [
    ...onlyBy('ordered', [
      // In groups where lanes can pass activations around: it takes a load to get one.
      ...onlyOn('cpu', [
        ...withSubgroups(false, forms.single()),
        ...withSubgroups(true, forms.single(groupedFrom(small, 'cpu'))),
        ...forms.lanes(small),
      ]),
      // Pair by pair, then the pairs of an expert in groups.
      ...onlyOn('gpu', [...inStepsBelow(groupedFrom(small), forms.tile()), ...forms.grouped(small)]),
    ]),
    // Every row count by the same loop.
    ...onlyBy('matrix', forms.block(large)),
  ]
}
