/**
 * How the attention of a step is cut into work: all splits of a row by one workgroup in turn, or each by its own.
 *
 *     items    vec2<u32> [rounds, slots + rows]   (row, split) for slot 0, 1, … of the round; behind them (row, WHOLE)
 *     merges   vec4<u32> [rounds, slots]          (row, first slot, splits, 0)
 *
 * Both ways give a row the same bits, so the cut follows speed and memory alone: parts of splits lie in slots until they
 * are merged, and rows that find none free wait for the next round. Pure; knows nothing of what a split computes.
 */
import type { Slice, Storage } from '../gpu/buffers.ts'

/** Keys of a split: the order contract's. */
export const SPLIT_TOKENS = 512

export const ROUNDS = [0, 1, 2, 3] as const
export type Round = (typeof ROUNDS)[number]
/** What attention's dispatches count: work items and rows to merge, of each round. */
export type AttentionRowSet = `items-${Round}` | `merges-${Round}`
export type AttentionCounts = Readonly<Record<AttentionRowSet, number>>

/** In `items`, in place of a split. */
const WHOLE = 0xffffffff
/** As many rows in turn keep any GPU busy: a row whose splits are a smaller share of the step needs no cutting. */
const ROWS_AT_ONCE = 64

const ITEM_BYTES = 8
const MERGE_BYTES = 16

/** The plan as the GPU reads it. */
export interface AttentionWork {
  readonly items: Slice
  readonly merges: Slice
  /** Splits whose parts are held at a time; 0: every row is computed in turn. */
  readonly slotCount: number
  readonly rowsMax: number
}

/** Slots for the longest sequence, and for as many as it pays to hold within `bytesMax`. */
export function slotCountFor(keysMax: number, rowsMax: number, slotBytes: number, bytesMax: number): number {
  const splits = Math.ceil(keysMax / SPLIT_TOKENS)
  const affordable = Math.floor(bytesMax / slotBytes)
  return splits < 2 || splits > affordable ? 0 : Math.min(affordable, splits * Math.min(rowsMax, ROWS_AT_ONCE))
}

/** Items of a round: where the next one's begin. */
export function itemsPerRound({ slotCount, rowsMax }: Pick<AttentionWork, 'slotCount' | 'rowsMax'>): number {
  return slotCount + rowsMax
}

export function layOutAttentionWork(
  memory: Storage,
  size: Pick<AttentionWork, 'slotCount' | 'rowsMax'>,
): AttentionWork {
  const items = memory.storage('attention-items', ROUNDS.length * itemsPerRound(size) * ITEM_BYTES)
  const merges = memory.storage('attention-merges', ROUNDS.length * size.slotCount * MERGE_BYTES)
  return { items, merges, ...size }
}

export interface AttentionPlan {
  /** Where the GPU finds it: `values` from byte `at` of `slice` on. */
  readonly writes: readonly { readonly slice: Slice; readonly at: number; readonly values: Uint32Array<ArrayBuffer> }[]
  readonly counts: AttentionCounts
}

/** `keys`: of each row, at least 1. */
export function planAttention(keys: ArrayLike<number>, work: AttentionWork): AttentionPlan {
  const splits = Array.from(keys, (count) => Math.ceil(count / SPLIT_TOKENS))
  const total = splits.reduce((sum, count) => sum + count, 0)
  const inTurnMax = Math.max(1, Math.floor(total / ROWS_AT_ONCE))
  const rounds: Cut[] = ROUNDS.map(() => ({ items: [], merges: [], slots: 0 }))
  const whole: number[] = []
  splits.forEach((count, row) => {
    const free = count > inTurnMax ? rounds.find(({ slots }) => slots + count <= work.slotCount) : undefined
    if (free === undefined) {
      whole.push(row, WHOLE)
      return
    }
    for (let split = 0; split < count; split++) free.items.push(row, split)
    free.merges.push(row, free.slots, count, 0)
    free.slots += count
  })
  rounds[0]?.items.push(...whole)
  const writes = rounds.flatMap(({ items, merges }, round) => [
    { slice: work.items, at: round * itemsPerRound(work) * ITEM_BYTES, values: Uint32Array.from(items) },
    { slice: work.merges, at: round * work.slotCount * MERGE_BYTES, values: Uint32Array.from(merges) },
  ])
  return { writes, counts: countsOf(rounds) }
}

/** A round's items and merges, four bytes a word, and the slots they take. */
interface Cut {
  readonly items: number[]
  readonly merges: number[]
  slots: number
}

function countsOf(rounds: readonly Cut[]): AttentionCounts {
  const items = (round: Round): number => (rounds[round]?.items.length ?? 0) / (ITEM_BYTES / 4)
  const merges = (round: Round): number => (rounds[round]?.merges.length ?? 0) / (MERGE_BYTES / 4)
  return {
    'items-0': items(0),
    'items-1': items(1),
    'items-2': items(2),
    'items-3': items(3),
    'merges-0': merges(0),
    'merges-1': merges(1),
    'merges-2': merges(2),
    'merges-3': merges(3),
  }
}
