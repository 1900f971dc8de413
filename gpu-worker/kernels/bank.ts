/**
 * Where experts' weights lie in GPU memory: banks of equal slots, a whole expert in each.
 *
 *     gate bank [slots, width, hidden]   up bank [slots, width, hidden]   down bank [slots, hidden, width]
 *
 * Three bindings a bank, each within the binding limit. Knows nothing of files or of who is resident.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { WeightFormat } from './matrix.ts'

export interface Bank {
  /** The number that `places` names. */
  readonly index: number
  readonly slotCount: number
  readonly gateUpFormat: WeightFormat
  readonly downFormat: WeightFormat
  readonly gate: Slice
  readonly up: Slice
  readonly down: Slice
}

/** One slot of one bank. */
export interface Place {
  readonly bank: number
  readonly slot: number
}

/** In a table of places, for an expert that lies in no bank: it is left to other dispatches. */
export const NO_BANK = 0xffffffff

/** The experts of one layer: the routed ones by their numbers, then the shared one, if any. */
export interface LayerExperts {
  readonly expertCount: number
  /** Columns of gate and up, rows of down. */
  readonly hiddenSize: number
  /** Rows of gate and up, columns of down. */
  readonly width: number
  /** Every bank that may hold one of them. */
  readonly banks: readonly Bank[]
  /** vec2<u32> [experts]: (bank, slot); NO_BANK for an expert whose weights lie elsewhere. */
  readonly places: Slice
}
