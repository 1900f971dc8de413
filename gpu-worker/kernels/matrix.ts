/**
 * How a weight matrix lies in GPU memory: equal rows, split into windows; and how rows of activations do.
 *
 *     plain      | value 0 … columns − 1, zeros up to a multiple of 8 values |
 *     quantised  | values as packed on disk | scales, one a group | zero points, one byte a group, if any |
 *                  each part padded with zeros to 16 bytes
 *
 * A quantised row holds all that its values mean, so a window is one binding whatever the format. Nothing is ever
 * re-rounded. Knows nothing of files.
 */
import type { Slice } from '../gpu/buffers.ts'

export type PlainFormat = 'f32' | 'f16' | 'bf16'

/**
 * Values of a few bits that share a scale in groups along the row: w = (u − zero) · scale in f32, one rounding at most.
 *
 * int4: value k is nibble k % 8 (the lowest first) of u32 ⌊k / 8⌋; int8 and fp8: byte k % 4 of u32 ⌊k / 4⌋. Integers
 * are offset binary: without zero points, zero is 8 or 128. fp8 is e4m3fn: no infinities, no zero points.
 */
export interface QuantizedFormat {
  readonly kind: 'int4' | 'int8' | 'fp8'
  /** Columns that share a scale; the last group of a row may be short. All columns for one scale a row. */
  readonly groupColumns: number
  /** As the scales are stored. */
  readonly scale: PlainFormat
  readonly hasZeroPoints: boolean
}

export type WeightFormat = PlainFormat | QuantizedFormat

export function isPlain(format: WeightFormat): format is PlainFormat {
  return typeof format === 'string'
}

export function sameFormat(a: WeightFormat, b: WeightFormat): boolean {
  if (isPlain(a) || isPlain(b)) return a === b
  const { kind, groupColumns, scale, hasZeroPoints } = a
  return kind === b.kind && groupColumns === b.groupColumns && scale === b.scale && hasZeroPoints === b.hasZeroPoints
}

/** For messages: `bf16`, `int4 g32 bf16`, `int8 g128 f16 zero points`. */
export function formatName(format: WeightFormat): string {
  if (isPlain(format)) return format
  const { kind, groupColumns, scale, hasZeroPoints } = format
  return `${kind} g${groupColumns} ${scale}${hasZeroPoints ? ' zero points' : ''}`
}

export const VALUES_PER_UNIT = 8

/** Every part of a row starts at a vec4<u32>, the unit of the shaders' addresses. */
export const VECTOR_BYTES = 16

/** Rows [rowStart, rowStart + rowCount) of a matrix in one binding. */
export interface MatrixWindow {
  readonly slice: Slice
  readonly format: WeightFormat
  readonly rowStart: number
  readonly rowCount: number
}

export interface Matrix {
  readonly rowCount: number
  readonly columnCount: number
  readonly windows: readonly MatrixWindow[]
}

export function bytesPerValue(format: PlainFormat): number {
  return format === 'f32' ? 4 : 2
}

/** Values of a padded row: what plain weight rows and activation rows occupy. */
export function paddedColumns(columnCount: number): number {
  return Math.ceil(columnCount / VALUES_PER_UNIT) * VALUES_PER_UNIT
}

/** Where the parts of a row record lie, in bytes from its start; the values start at 0. */
export interface RowLayout {
  /** Bytes of the values as packed on disk, before padding: whole u32s of int4 and int8. */
  readonly valueBytes: number
  /** Groups of a row: scales, and zero points if any. 0 in plain rows. */
  readonly groupCount: number
  /** The first scale; the row's end in plain rows. */
  readonly scaleStart: number
  /** The first zero point; the row's end where there are none. */
  readonly zeroStart: number
  /** The whole record, a multiple of 16. */
  readonly bytes: number
}

export function rowLayout(columnCount: number, format: WeightFormat): RowLayout {
  if (isPlain(format)) {
    const bytes = paddedColumns(columnCount) * bytesPerValue(format)
    const valueBytes = columnCount * bytesPerValue(format)
    return { valueBytes, groupCount: 0, scaleStart: bytes, zeroStart: bytes, bytes }
  }
  const { kind, groupColumns, scale, hasZeroPoints } = format
  if (!Number.isInteger(groupColumns) || groupColumns < 1 || (kind === 'fp8' && hasZeroPoints)) {
    throw new RangeError(`No such format: ${formatName(format)}`)
  }
  const valueBytes = packedBytes(columnCount, kind)
  const groupCount = Math.ceil(columnCount / groupColumns)
  const scaleStart = toVectors(valueBytes)
  const zeroStart = scaleStart + toVectors(groupCount * bytesPerValue(scale))
  const bytes = zeroStart + (hasZeroPoints ? toVectors(groupCount) : 0)
  return { valueBytes, groupCount, scaleStart, zeroStart, bytes }
}

function packedBytes(columnCount: number, kind: QuantizedFormat['kind']): number {
  if (kind === 'fp8') return columnCount
  const valuesPerWord = kind === 'int4' ? 8 : 4
  return Math.ceil(columnCount / valuesPerWord) * 4
}

function toVectors(bytes: number): number {
  return Math.ceil(bytes / VECTOR_BYTES) * VECTOR_BYTES
}

export function rowBytes(columnCount: number, format: WeightFormat): number {
  return rowLayout(columnCount, format).bytes
}

/** A row record's length in vec4<u32>. */
export function rowVectors(columnCount: number, format: WeightFormat): number {
  return rowBytes(columnCount, format) / VECTOR_BYTES
}

/** Rows of activations, f32 [rows, stride]; the stride is padded like a weight row's. */
export interface Activation {
  readonly slice: Slice
  readonly width: number
  readonly stride: number
}

/** Columns [offset, offset + width) of an activation: a part of what a stacked matrix produced. */
export interface ActivationPart {
  readonly activation: Activation
  readonly offset: number
  readonly width: number
}

export function bytesOfRows(activation: Activation, rows: number): number {
  return rows * activation.stride * 4
}
