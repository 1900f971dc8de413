/**
 * Row records of `kernels/matrix.ts` out of the parts as they lie on disk: values, scales, zero points.
 *
 *     on disk   values [rows, packed columns]   scales [⌈rows / rowsPerScale⌉, groups]   zero points, packed along rows
 *     records   | values, zeros | scales, zeros | zero points, a byte each, zeros | for one row after the other
 *
 * Pure. Nothing is re-rounded: bits are moved, zero points unpacked.
 */
import { bytesPerValue, isPlain, rowLayout, type WeightFormat } from '../kernels/matrix.ts'
import type { StoredWeight } from './row-source.ts'

/** Bytes [start, end) of a stored tensor. */
export interface StoredRange {
  readonly start: number
  readonly end: number
}

/** What of each tensor the records of some rows are made of. */
export interface RecordRanges {
  readonly values: StoredRange
  readonly scales: StoredRange | null
  readonly zeroPoints: StoredRange | null
}

/** The bytes of `RecordRanges`, each at a multiple of 4 in its buffer. */
export interface RecordParts {
  readonly values: Uint8Array<ArrayBuffer>
  readonly scales: Uint8Array<ArrayBuffer> | null
  readonly zeroPoints: Uint8Array<ArrayBuffer> | null
}

export function recordRanges(weight: StoredWeight, rowStart: number, rowCount: number): RecordRanges {
  const { columnCount, format, rowsPerScale } = weight
  const { valueBytes } = rowLayout(columnCount, format)
  const rowEnd = rowStart + rowCount
  const values = { start: rowStart * valueBytes, end: rowEnd * valueBytes }
  if (isPlain(format)) return { values, scales: null, zeroPoints: null }
  const scaleRowBytes = scaleBytes(columnCount, format)
  const scales = {
    start: Math.floor(rowStart / rowsPerScale) * scaleRowBytes,
    end: Math.ceil(rowEnd / rowsPerScale) * scaleRowBytes,
  }
  if (!format.hasZeroPoints) return { values, scales, zeroPoints: null }
  const { rowsPerWord, wordRowBytes } = zeroPointShape(columnCount, format)
  const zeroPoints = {
    start: Math.floor(rowStart / rowsPerWord) * wordRowBytes,
    end: Math.ceil(rowEnd / rowsPerWord) * wordRowBytes,
  }
  return { values, scales, zeroPoints }
}

/** Writes the records of `rowCount` rows, every byte of `target`. */
export function writeRecords(
  target: Uint8Array<ArrayBuffer>,
  weight: StoredWeight,
  rowStart: number,
  rowCount: number,
  { values, scales, zeroPoints }: RecordParts,
): void {
  const { columnCount, format, rowsPerScale } = weight
  const { valueBytes, scaleStart, zeroStart, bytes } = rowLayout(columnCount, format)
  if (valueBytes === bytes) {
    target.set(values)
    return
  }
  const scaleRowBytes = scales === null ? 0 : scaleBytes(columnCount, format)
  const firstScaleRow = Math.floor(rowStart / rowsPerScale)
  for (let row = 0; row < rowCount; row++) {
    const record = row * bytes
    target.set(values.subarray(row * valueBytes, (row + 1) * valueBytes), record)
    if (valueBytes < scaleStart) target.fill(0, record + valueBytes, record + scaleStart)
    if (scales === null) continue
    const scaleRow = (Math.floor((rowStart + row) / rowsPerScale) - firstScaleRow) * scaleRowBytes
    target.set(scales.subarray(scaleRow, scaleRow + scaleRowBytes), record + scaleStart)
    if (scaleStart + scaleRowBytes < zeroStart) {
      target.fill(0, record + scaleStart + scaleRowBytes, record + zeroStart)
    }
  }
  if (zeroPoints !== null) writeZeroPoints(target, weight, rowStart, rowCount, zeroPoints)
}

/** Word [⌊row / rowsPerWord⌋, group], the first row in the lowest bits, as a byte of the row's record. */
function writeZeroPoints(
  target: Uint8Array<ArrayBuffer>,
  { columnCount, format }: StoredWeight,
  rowStart: number,
  rowCount: number,
  zeroPoints: Uint8Array<ArrayBuffer>,
): void {
  const { groupCount, zeroStart, bytes } = rowLayout(columnCount, format)
  const { bits, rowsPerWord } = zeroPointShape(columnCount, format)
  const words = new Uint32Array(zeroPoints.buffer, zeroPoints.byteOffset, zeroPoints.byteLength / 4)
  const firstWordRow = Math.floor(rowStart / rowsPerWord)
  for (let row = 0; row < rowCount; row++) {
    const wordRow = (Math.floor((rowStart + row) / rowsPerWord) - firstWordRow) * groupCount
    const shift = ((rowStart + row) % rowsPerWord) * bits
    const start = row * bytes + zeroStart
    for (let group = 0; group < groupCount; group++) {
      target[start + group] = ((words[wordRow + group] ?? 0) >>> shift) & (2 ** bits - 1)
    }
    target.fill(0, start + groupCount, (row + 1) * bytes)
  }
}

function scaleBytes(columnCount: number, format: WeightFormat): number {
  return isPlain(format) ? 0 : rowLayout(columnCount, format).groupCount * bytesPerValue(format.scale)
}

function zeroPointShape(
  columnCount: number,
  format: WeightFormat,
): { readonly bits: number; readonly rowsPerWord: number; readonly wordRowBytes: number } {
  const bits = !isPlain(format) && format.kind === 'int4' ? 4 : 8
  return { bits, rowsPerWord: 32 / bits, wordRowBytes: rowLayout(columnCount, format).groupCount * 4 }
}
