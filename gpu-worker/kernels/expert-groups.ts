/**
 * Sorts a step's (row, rank) pairs by expert: afterwards one workgroup can serve several pairs of an expert.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, onlyBy, onlyOn, withSubgroups, type Dispatch, type Processor } from '../gpu/program.ts'
import { wgsl } from './wgsl.ts'

/** Pairs of one expert that a workgroup multiplies at a time. */
export type PairsTogether = 4 | 8 | 32

/** Fewer rows seldom share an expert: pair by pair is faster on a GPU, as measured on an H100 at 8 and 32 rows. */
const ROWS_FROM = 12
/** On a CPU a lane that has no product to compute costs little beside its loads: pairs an expert, over all experts. */
const PAIRS_PER_EXPERT_ON_CPU = 1

/** Where a step's groups lie, and from how many rows on there are any. */
export interface ExpertGroups<Together extends PairsTogether = PairsTogether> {
  readonly slice: Slice
  readonly expertCount: number
  /** Experts a row. */
  readonly top: number
  readonly rowsMax: number
  readonly together: Together
  /** For steps of any number of rows. */
  readonly isForAll?: boolean
}

/** What they take: items, then pairs, in u32s. */
export type GroupSizes = Omit<ExpertGroups, 'slice'>

/** Steps of fewer rows have no such groups. */
export function groupedFrom(sizes: GroupSizes, processor: Processor = 'gpu'): number {
  const { expertCount, top, isForAll = false } = sizes
  if (isForAll) return 1
  return processor === 'cpu' ? Math.ceil((PAIRS_PER_EXPERT_ON_CPU * expertCount) / top) : ROWS_FROM
}

/** Items of a step at most: each expert may have one that is not full. */
export function itemsMost({ expertCount, top, together }: GroupSizes, rows: number): number {
  const pairs = rows * top
  return Math.floor((pairs + (together - 1) * Math.min(expertCount, pairs)) / together)
}

/** The first pair's place, in u32s. */
export function pairsAt(sizes: GroupSizes): number {
  return 4 * itemsMost(sizes, sizes.rowsMax)
}

export function groupsBytes(sizes: GroupSizes): number {
  return (pairsAt(sizes) + sizes.rowsMax * sizes.top) * 4
}

/** Of a step's groups, small or large. */
export type StepGroupSizes = Pick<ExpertGroups, 'expertCount' | 'top' | 'rowsMax'>

/** A step's groups, in one place: of eight for products in the order of the contract, of 32 for matrix units. */
export interface StepGroups {
  readonly small: ExpertGroups<8>
  /** Whatever the step. */
  readonly large: ExpertGroups<32>
}

/** What the groups of any step take. */
export function stepGroupsBytes(sizes: StepGroupSizes): number {
  return groupsBytes({ ...sizes, together: 8 })
}

/** `slice` holds `stepGroupsBytes`. */
export function stepGroups(sizes: StepGroupSizes, slice: Slice): StepGroups {
  return { small: { ...sizes, slice, together: 8 }, large: { ...sizes, slice, together: 32, isForAll: true } }
}

/** Dispatches for groups of each size, where kernels work on such; each must leave the steps before its groups alone. */
export function byGroups(
  { small, large }: StepGroups,
  dispatchesOf: (own: ExpertGroups, processor: Processor) => readonly Dispatch[],
): Dispatch[] {
  return [
    ...onlyOn('gpu', [
      ...onlyBy('ordered', dispatchesOf(small, 'gpu')),
      ...onlyBy('matrix', dispatchesOf(large, 'gpu')),
    ]),
    ...onlyOn('cpu', withSubgroups(true, dispatchesOf(small, 'cpu'))),
  ]
}

/** For steps that have groups on such an adapter. */
export function expertGroups(chosen: Slice, groups: ExpertGroups, processor: Processor = 'gpu'): Dispatch {
  const { slice, expertCount, top, rowsMax, together } = groups
  return {
    program: {
      name: 'expert-groups',
      source: wgsl('expert-groups', 'sort-pairs'),
      access: ['read', 'write'],
      constants: { EXPERT_COUNT: expertCount, TOP: top, GROUP: together, PAIRS_AT: pairsAt(groups) },
    },
    bindings: [holding(chosen, rowsMax * top * 4, 'chosen'), holding(slice, groupsBytes(groups), 'groups')],
    grid: (rows) => (rows < groupedFrom(groups, processor) ? null : [rows, 1, 1]),
  }
}
