/**
 * How the attention of a step is cut into work: all splits of a row by one workgroup in turn, or each by its own.
 *
 *     items    vec2<u32> [rounds, slots]          (row, split) for slot 0, 1, … of the round
 *              vec2<u32> [rows]                   behind those of all rounds: (row, WHOLE)
 *     mixes    vec4<u32> [rounds, slots]          (row, first slot, first split, splits): of all of a row, or of one
 *     merges   vec4<u32> [rounds, slots]          (row, first slot, splits, 0)
 *
 * Both ways give a row the same bits, so the cut follows speed and memory alone: parts of splits lie in slots until they
 * are merged, and rows that find none free wait for the next round. Pure; knows nothing of what a split computes.
 */
import type { Slice, Storage } from '../gpu/buffers.ts'
import type { Processor } from '../gpu/program.ts'

/** Keys of a tile, and of a split: the order contract's. */
export const TILE_TOKENS = 64
export const SPLIT_TOKENS = 512

export const ROUNDS = [0, 1, 2, 3] as const
export type Round = (typeof ROUNDS)[number]
/** What attention's dispatches count: splits, mixes of their scores and rows to merge, of each round; rows computed whole. */
export type AttentionRowSet = `splits-${Round}` | `mixes-${Round}` | `merges-${Round}` | 'wholes'
export type AttentionCounts = Readonly<Record<AttentionRowSet, number>>

/** In `items`, in place of a split. */
const WHOLE = 0xffffffff
/** As many rows in turn keep any adapter busy: a row whose splits are a smaller share of the step needs no cutting. */
const ROWS_AT_ONCE = 64
/** The same of rows whose scores are there already: many workgroups share one. */
const MIXES_AT_ONCE = 4

const ITEM_BYTES = 8
/** Of a mix and of a merge. */
const RECORD_BYTES = 16

/** The plan as the GPU reads it. */
export interface AttentionWork {
  readonly items: Slice
  readonly mixes: Slice
  readonly merges: Slice
  /** Splits whose parts are held at a time; 0: every row is computed in turn. */
  readonly slotCount: number
  readonly rowsMax: number
  /** Whether GPUs take such attention in stages: scores of splits, then what they mix. */
  readonly hasStages: boolean
}

type AttentionWorkSize = Pick<AttentionWork, 'slotCount' | 'rowsMax' | 'hasStages'>

/**
 * Slots for the longest sequence, and for as many as it pays to hold within `bytesMax`; none where one split holds it, unless
 * its scores may have to lie in one.
 */
export function slotCountFor(
  keysMax: number,
  rowsMax: number,
  slotBytes: number,
  bytesMax: number,
  hasStages: boolean,
): number {
  const splits = Math.ceil(keysMax / SPLIT_TOKENS)
  const affordable = Math.floor(bytesMax / slotBytes)
  if ((splits < 2 && !hasStages) || splits > affordable) return 0
  return Math.min(affordable, splits * Math.min(rowsMax, ROWS_AT_ONCE))
}

/** Where the splits of a round begin among the items; behind those of the last round, the whole rows. */
export function firstItem(round: Round | 'wholes', { slotCount }: Pick<AttentionWork, 'slotCount'>): number {
  return (round === 'wholes' ? ROUNDS.length : round) * slotCount
}

export function layOutAttentionWork(memory: Storage, size: AttentionWorkSize): AttentionWork {
  const itemCount = firstItem('wholes', size) + size.rowsMax
  const items = memory.storage('attention-items', itemCount * ITEM_BYTES)
  const records = ROUNDS.length * size.slotCount * RECORD_BYTES
  const mixes = memory.storage('attention-mixes', size.hasStages ? records : 0)
  const merges = memory.storage('attention-merges', records)
  return { items, mixes, merges, ...size }
}

export interface AttentionPlan {
  /** Where the GPU finds it: `values` from byte `at` of `slice` on. */
  readonly writes: readonly { readonly slice: Slice; readonly at: number; readonly values: Uint32Array<ArrayBuffer> }[]
  readonly counts: AttentionCounts
}

/**
 * `keys`: of each row, at least 1. In stages, on GPUs, every row is cut that finds slots, and all of its splits are mixed together where
 * they are few of the step's; else rows are cut that are long for their step, and each split is a whole of its own.
 */
export function planAttention(keys: ArrayLike<number>, work: AttentionWork, processor: Processor): AttentionPlan {
  const isInStages = work.hasStages && processor === 'gpu'
  const splits = Array.from(keys, (count) => Math.ceil(count / SPLIT_TOKENS))
  const total = splits.reduce((sum, count) => sum + count, 0)
  const inTurnMax = isInStages ? 0 : Math.max(1, Math.floor(total / ROWS_AT_ONCE))
  const togetherMax = isInStages ? Math.max(1, Math.floor(total / MIXES_AT_ONCE)) : 0
  const rounds: Cut[] = ROUNDS.map((round) => ({ round, items: [], mixes: [], merges: [], slots: 0 }))
  const whole: number[] = []
  splits.forEach((count, row) => {
    const free = count > inTurnMax ? rounds.find(({ slots }) => slots + count <= work.slotCount) : undefined
    if (free === undefined) {
      whole.push(row, WHOLE)
      return
    }
    for (let split = 0; split < count; split++) free.items.push(row, split)
    if (count <= togetherMax) {
      free.mixes.push(row, free.slots, 0, count)
    } else {
      if (isInStages) for (let split = 0; split < count; split++) free.mixes.push(row, free.slots + split, split, 1)
      free.merges.push(row, free.slots, count, 0)
    }
    free.slots += count
  })
  const writes = rounds.flatMap(({ round, items, mixes, merges }) => {
    const at = round * work.slotCount * RECORD_BYTES
    return [
      { slice: work.items, at: firstItem(round, work) * ITEM_BYTES, values: Uint32Array.from(items) },
      { slice: work.mixes, at, values: Uint32Array.from(mixes) },
      { slice: work.merges, at, values: Uint32Array.from(merges) },
    ]
  })
  const wholes = { slice: work.items, at: firstItem('wholes', work) * ITEM_BYTES, values: Uint32Array.from(whole) }
  return { writes: [...writes, wholes], counts: countsOf(rounds, whole.length / (ITEM_BYTES / 4)) }
}

/** A round's items, mixes and merges, four bytes a word, and the slots they take. */
interface Cut {
  readonly round: Round
  readonly items: number[]
  readonly mixes: number[]
  readonly merges: number[]
  slots: number
}

function countsOf(rounds: readonly Cut[], wholes: number): AttentionCounts {
  const splits = (round: Round): number => rounds[round]?.slots ?? 0
  const mixes = (round: Round): number => (rounds[round]?.mixes.length ?? 0) / (RECORD_BYTES / 4)
  const merges = (round: Round): number => (rounds[round]?.merges.length ?? 0) / (RECORD_BYTES / 4)
  return {
    'splits-0': splits(0),
    'splits-1': splits(1),
    'splits-2': splits(2),
    'splits-3': splits(3),
    'mixes-0': mixes(0),
    'mixes-1': mixes(1),
    'mixes-2': mixes(2),
    'mixes-3': mixes(3),
    'merges-0': merges(0),
    'merges-1': merges(1),
    'merges-2': merges(2),
    'merges-3': merges(3),
    wholes,
  }
}
