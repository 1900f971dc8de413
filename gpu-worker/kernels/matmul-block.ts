/**
 * y = x · Wᵀ for many rows, by blocks from workgroup memory: each weight decoded once for 32 or 64 rows.
 *
 * In the order of the contract with matmul's bits; or by matrix units, whose blocks are of 32 rows.
 */
import type { Dispatch, Products } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { blockIncludes, blockShape, type BlockRows } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** The steps that a dispatch is for, and how many of their rows a workgroup takes. */
export interface BlockSteps {
  readonly rowsTogether: BlockRows
  readonly rowsFrom: number
  readonly rowsTo: number
  readonly products: Products
}

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows. */
export function matmulBlock(operands: MatmulOperands, rowsMax: number, steps: BlockSteps): Dispatch[] {
  checkShapes(operands)
  const { rowsTogether, rowsFrom, rowsTo, products } = steps
  const { columnCount, windows } = operands.matrix
  const { weightRows, rowLanes } = blockShape(rowsTogether)
  return windows.map((window) => ({
    program: {
      name: 'matmul-block',
      source: wgsl('matmul-block', ...blockIncludes(columnCount, window.format, products), 'matmul'),
      access: ['read', 'read', 'write'],
      constants: { ...matmulConstants(operands, window, rowsMax), ROW_LANES: rowLanes },
    },
    bindings: matmulBindings(operands, window, rowsMax),
    grid: (rows) =>
      rows < rowsFrom || rows > rowsTo
        ? null
        : [Math.ceil(window.rowCount / weightRows), Math.ceil(rows / rowsTogether), 1],
  }))
}
