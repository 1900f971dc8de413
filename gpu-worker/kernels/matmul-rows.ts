/**
 * y = x · Wᵀ four rows at a time: matmul's bits, each weight read once for four rows.
 */
import type { Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256
/** Activations hold a multiple of this many rows: the last group computes rows that nobody reads. */
export const ROWS_TOGETHER = 4

/** One dispatch per window, for steps of `rowsFrom` rows or more. */
export function matmulRows(operands: MatmulOperands, rowsMax: number, rowsFrom: number): Dispatch[] {
  checkShapes(operands)
  if (rowsMax % ROWS_TOGETHER !== 0) throw new RangeError(`rowsMax must be a multiple of ${ROWS_TOGETHER}`)
  return operands.matrix.windows.map((window) => ({
    program: {
      name: 'matmul-rows',
      source: wgsl('matmul-rows', ...weightIncludes(operands.matrix.columnCount, window.format), 'matmul'),
      access: ['read', 'read', 'write'],
      constants: matmulConstants(operands, window, rowsMax),
    },
    bindings: matmulBindings(operands, window, rowsMax),
    grid: (rows) =>
      rows < rowsFrom ? null : [Math.ceil(window.rowCount / WORKGROUP_ROWS), Math.ceil(rows / ROWS_TOGETHER), 1],
  }))
}
