/**
 * y = x · Wᵀ for rows of activations and a matrix in row windows: one dispatch per window.
 *
 * Two shaders, one arithmetic: one row at a time, and four rows at a time from `ROWS_TOGETHER_FROM` rows on.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, rowVectors, type Activation, type Matrix, type MatrixWindow } from './matrix.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64
export const ROWS_TOGETHER = 4
/** From here on reading a weight once for four rows beats computing rows that nobody wants. */
const ROWS_TOGETHER_FROM = 3

export interface MatmulOperands {
  /** f32 [rows, columnCount] */
  readonly x: Activation
  readonly matrix: Matrix
  /** f32 [rows, rowCount] */
  readonly y: Activation
}

/** Dispatches for 1 … rowsMax rows; `rowsMax` is a multiple of 4 and what both activations hold. */
export function matmul({ x, matrix, y }: MatmulOperands, rowsMax: number): Dispatch[] {
  if (rowsMax % ROWS_TOGETHER !== 0)
    throw new RangeError(`rowsMax must be a multiple of ${ROWS_TOGETHER}, got ${rowsMax}`)
  if (x.width !== matrix.columnCount || y.width !== matrix.rowCount) {
    throw new RangeError(`Shapes do not fit: x ${x.width}, W ${matrix.rowCount}×${matrix.columnCount}, y ${y.width}`)
  }
  return matrix.windows.flatMap((window) => {
    const constants = constantsOf(x, matrix, window, y)
    const bindings = [
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(window.slice, window.rowCount * constants.W_VECTORS * 16, 'weights'),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ]
    const weights = `weights-${window.format}` as const
    const access = ['read', 'read', 'write'] as const
    const columns = Math.ceil(window.rowCount / WORKGROUP)
    return [
      {
        program: { name: 'matmul', source: wgsl('matmul', weights, 'dot'), access, constants },
        bindings,
        grid: (rows) => (rows < ROWS_TOGETHER_FROM ? [columns, rows, 1] : null),
      },
      {
        program: { name: 'matmul-rows', source: wgsl('matmul-rows', weights, 'dot'), access, constants },
        bindings,
        grid: (rows) => (rows < ROWS_TOGETHER_FROM ? null : [columns, Math.ceil(rows / ROWS_TOGETHER), 1]),
      },
    ]
  })
}

function constantsOf(x: Activation, matrix: Matrix, window: MatrixWindow, y: Activation) {
  return {
    K: matrix.columnCount,
    X_VECTORS: x.stride / 4,
    W_VECTORS: rowVectors(matrix.columnCount, window.format),
    ROWS_IN_WINDOW: window.rowCount,
    Y_STRIDE: y.stride,
    Y_OFFSET: window.rowStart,
  }
}
