/**
 * How a weight matrix lies in GPU memory: rows padded to units of 8 values, split into windows by rows.
 *
 *     row r of [rows, columns]:  | value 0 … columns − 1 | zeros up to a multiple of 8 |     as stored: f32, f16 or bf16
 *
 * A window is one binding. Values are never re-rounded. Knows nothing of files.
 */
import type { Slice } from '../gpu/buffers.ts'

export type WeightFormat = 'f32' | 'f16' | 'bf16'

export const VALUES_PER_UNIT = 8

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

export function bytesPerValue(format: WeightFormat): number {
  return format === 'f32' ? 4 : 2
}

/** Values of a padded row: what weight rows and activation rows occupy. */
export function paddedColumns(columnCount: number): number {
  return Math.ceil(columnCount / VALUES_PER_UNIT) * VALUES_PER_UNIT
}

export function rowBytes(columnCount: number, format: WeightFormat): number {
  return paddedColumns(columnCount) * bytesPerValue(format)
}

/** A padded row's length in vec4<u32>, the unit of the shaders' addresses. */
export function rowVectors(columnCount: number, format: WeightFormat): number {
  return rowBytes(columnCount, format) / 16
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
