/**
 * What a product y = x · Wᵀ works on, and the constants that all of its shaders take.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding } from '../gpu/program.ts'
import { bytesOfRows, rowBytes, type Activation, type Matrix, type MatrixWindow } from './matrix.ts'
import { weightConstants } from './weight-shader.ts'

export interface MatmulOperands {
  /** f32 [rows, columnCount] */
  readonly x: Activation
  readonly matrix: Matrix
  /** f32 [rows, rowCount] */
  readonly y: Activation
  /** The first column of y's rows that is written: 0 when absent. */
  readonly yOffset?: number
}

/** Throws a RangeError unless x, W and y fit each other. */
export function checkShapes({ x, matrix, y }: MatmulOperands): void {
  if (x.width !== matrix.columnCount || y.width !== matrix.rowCount) {
    throw new RangeError(`Shapes do not fit: x ${x.width}, W ${matrix.rowCount}×${matrix.columnCount}, y ${y.width}`)
  }
}

export function matmulConstants({ x, matrix, y, yOffset = 0 }: MatmulOperands, window: MatrixWindow, rowsMax: number) {
  return {
    K: matrix.columnCount,
    X_VECTORS: x.stride / 4,
    ...weightConstants(matrix.columnCount, window.format),
    ROWS_IN_WINDOW: window.rowCount,
    Y_STRIDE: y.stride,
    Y_OFFSET: yOffset + window.rowStart,
    ROWS_MAX: rowsMax,
  }
}

export function matmulBindings({ x, matrix, y }: MatmulOperands, window: MatrixWindow, rowsMax: number): Slice[] {
  return [
    holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
    holding(window.slice, window.rowCount * rowBytes(matrix.columnCount, window.format), 'weights'),
    holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
  ]
}
