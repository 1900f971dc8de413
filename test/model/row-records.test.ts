/** Row records against the obvious: each byte of each record looked up by (row, column), for chunks that start anywhere. */
import { describe, expect, it } from 'vitest'
import { bytesPerValue, isPlain, rowLayout, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { recordRanges, writeRecords, type StoredRange } from '../../gpu-worker/model/row-records.ts'
import type { StoredWeight } from '../../gpu-worker/model/row-source.ts'

const quantised = (
  kind: 'int4' | 'int8' | 'fp8',
  groupColumns: number,
  scale: 'f32' | 'f16' | 'bf16',
  hasZeroPoints = false,
): WeightFormat => ({ kind, groupColumns, scale, hasZeroPoints })

const cases: readonly (readonly [name: string, columns: number, rowsPerScale: number, format: WeightFormat])[] = [
  ['f32, no padding', 16, 1, 'f32'],
  ['bf16, one column', 1, 1, 'bf16'],
  ['f16, padding', 19, 1, 'f16'],
  ['int4, group 32', 64, 1, quantised('int4', 32, 'bf16')],
  ['int4, odd columns, a short last group', 77, 1, quantised('int4', 32, 'f16')],
  ['int4, group 5, zero points', 37, 1, quantised('int4', 5, 'f32', true)],
  ['int8, one scale a row', 30, 1, quantised('int8', 30, 'bf16')],
  ['int8, zero points', 30, 1, quantised('int8', 7, 'f16', true)],
  ['int8, one scale in all', 21, 23, quantised('int8', 21, 'f32')],
  ['fp8, blocks of 4 × 8', 27, 4, quantised('fp8', 8, 'f32')],
]

/** Bytes that tell where they come from. */
function stored(length: number, salt: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 0x9e3779b1 + salt) >>> 24)
}

function cut(tensor: Uint8Array<ArrayBuffer>, range: StoredRange | null): Uint8Array<ArrayBuffer> | null {
  return range === null ? null : tensor.slice(range.start, range.end)
}

describe.each(cases)('a record of %s', (name, columnCount, rowsPerScale, format) => {
  const rowCount = 23
  const layout = rowLayout(columnCount, format)
  const { kind, scale, hasZeroPoints } = isPlain(format) ? { kind: null, scale: null, hasZeroPoints: false } : format
  const scaleRowBytes = scale === null ? 0 : layout.groupCount * bytesPerValue(scale)
  const bits = kind === 'int4' ? 4 : 8
  const rowsPerWord = 32 / bits
  const tensors = {
    values: stored(rowCount * layout.valueBytes, 1),
    scales: stored(Math.ceil(rowCount / rowsPerScale) * scaleRowBytes, 2),
    zeroPoints: stored(Math.ceil(rowCount / rowsPerWord) * layout.groupCount * 4, 3),
  }
  const weight: StoredWeight = {
    name,
    values: 'values',
    scales: scale === null ? null : 'scales',
    zeroPoints: hasZeroPoints ? 'zero points' : null,
    rowCount,
    columnCount,
    format,
    rowsPerScale,
  }

  function recordOf(row: number): number[] {
    const record = Array.from({ length: layout.bytes }, () => 0)
    for (let i = 0; i < layout.valueBytes; i++) record[i] = tensors.values[row * layout.valueBytes + i] ?? NaN
    for (let i = 0; i < scaleRowBytes; i++) {
      record[layout.scaleStart + i] = tensors.scales[Math.floor(row / rowsPerScale) * scaleRowBytes + i] ?? NaN
    }
    if (!hasZeroPoints) return record
    const words = new DataView(tensors.zeroPoints.buffer)
    for (let group = 0; group < layout.groupCount; group++) {
      const word = words.getUint32((Math.floor(row / rowsPerWord) * layout.groupCount + group) * 4, true)
      record[layout.zeroStart + group] = Math.floor(word / 2 ** ((row % rowsPerWord) * bits)) % 2 ** bits
    }
    return record
  }

  it.each([
    [0, 23],
    [0, 1],
    [5, 1],
    [3, 9],
    [22, 1],
  ])('holds what the tensors say, and zeros: rows from %i, %i of them', (rowStart, count) => {
    const ranges = recordRanges(weight, rowStart, count)
    const parts = {
      values: tensors.values.slice(ranges.values.start, ranges.values.end),
      scales: cut(tensors.scales, ranges.scales),
      zeroPoints: cut(tensors.zeroPoints, ranges.zeroPoints),
    }
    const records = new Uint8Array(count * layout.bytes).fill(0xee)
    writeRecords(records, weight, rowStart, count, parts)
    const expected = Array.from({ length: count }, (_, i) => recordOf(rowStart + i)).flat()
    expect([...records]).toEqual(expected)
  })
})
