/** The Runner of `bench ordering`: its size, and how long its steps take. It does not know what is ordered, nor how. */
import { type Batch, rowCount } from '../../gpu-worker/engine/batch.ts'

export const slots = 64
export const prefillRowsMax = 256
export const limits = {
  rowsMax: 512,
  sequencesMax: slots,
  blockTokens: 32,
  blockCount: 8_192,
  contextTokensMax: 2_048,
  stepsInFlightMax: 1,
} as const

/** A step reads all weights once; then each row costs its share of the arithmetic. */
export const stepModel = { fixedMs: 10, decodeRowMs: 0.15, prefillRowMs: 0.12 } as const

export function stepMs(batch: Batch): number {
  const decodeRows = batch.sequences.filter(({ tokenIds }) => tokenIds.length === 1).length
  const prefillRows = rowCount(batch) - decodeRows
  return stepModel.fixedMs + decodeRows * stepModel.decodeRowMs + prefillRows * stepModel.prefillRowMs
}
