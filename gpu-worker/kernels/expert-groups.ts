/**
 * Sorts a step's (row, rank) pairs by expert: afterwards one workgroup can serve several pairs of an expert.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch, type Processor } from '../gpu/program.ts'
import { wgsl } from './wgsl.ts'

/**
 * Fewer pairs an expert, over all experts, are faster one by one: their workgroups compute nothing in vain. On a CPU
 * a lane that has no product to compute costs little beside its loads.
 */
const PAIRS_PER_EXPERT: Readonly<Record<Processor, number>> = { gpu: 2, cpu: 1 }

/** Where a step's groups lie, and from how many rows on there are any. */
export interface ExpertGroups {
  readonly slice: Slice
  readonly expertCount: number
  /** Experts a row. */
  readonly top: number
  readonly rowsMax: number
  /** Pairs of one expert that a workgroup multiplies at a time. */
  readonly together: 4 | 8
}

/** What they take: items, then pairs, in u32s. */
export type GroupSizes = Omit<ExpertGroups, 'slice'>

/** Steps of fewer rows have no groups. */
export function groupedFrom({ expertCount, top }: GroupSizes, processor: Processor = 'gpu'): number {
  return Math.ceil((PAIRS_PER_EXPERT[processor] * expertCount) / top)
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

/** For steps that have groups on such an adapter. */
export function expertGroups(chosen: Slice, groups: ExpertGroups, processor: Processor = 'gpu'): Dispatch {
  const { slice, expertCount, top, rowsMax, together } = groups
  return {
    program: {
      name: 'expert-groups',
      source: wgsl('expert-groups'),
      access: ['read', 'write'],
      constants: { EXPERT_COUNT: expertCount, TOP: top, GROUP: together, PAIRS_AT: pairsAt(groups) },
    },
    bindings: [holding(chosen, rowsMax * top * 4, 'chosen'), holding(slice, groupsBytes(groups), 'groups')],
    grid: (rows) => (rows < groupedFrom(groups, processor) ? null : [rows, 1, 1]),
  }
}
