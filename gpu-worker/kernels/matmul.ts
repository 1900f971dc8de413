/**
 * y = x · Wᵀ for rows of activations and a matrix in row windows: one dispatch per window.
 *
 * Several shaders, one arithmetic. On a GPU workgroups share the chunks of a row, of a panel for a few rows, or a block of
 * many. On a CPU a load costs more than a product: there eight lanes pass activations to one another, or, where they cannot,
 * each weight serves four rows. Matrix units have an arithmetic of their own, by blocks.
 */
import { onlyBy, onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { matmulBlock } from './matmul-block.ts'
import { matmulChunks } from './matmul-chunks.ts'
import { matmulLane } from './matmul-lane.ts'
import { matmulLanes } from './matmul-lanes.ts'
import { matmulPanel } from './matmul-panel.ts'
import { matmulRows } from './matmul-rows.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256
/** From here on reading a weight once for four rows beats computing rows that nobody wants. */
const ROWS_TOGETHER_FROM = 3

/** Fewer rows are faster by eights on a GPU, though it reads a weight again for each eight. */
const BLOCKS_FROM = 65

/** Dispatches for 1 … rowsMax rows; `rowsMax` is a multiple of 4 and what both activations hold. */
export function matmul(operands: MatmulOperands, rowsMax: number): Dispatch[] {
  const single = matmulSingle(operands, rowsMax, ROWS_TOGETHER_FROM)
  return [
    ...onlyBy('ordered', [
      ...onlyOn('cpu', [
        ...withSubgroups(false, [...single, ...matmulRows(operands, rowsMax, ROWS_TOGETHER_FROM)]),
        ...matmulLane(operands, rowsMax, 2),
        ...matmulLanes(operands, rowsMax, { together: 4, rowsFrom: 2, rowsTo: 4 }),
        ...matmulLanes(operands, rowsMax, { together: 8, rowsFrom: 5, rowsTo: Infinity }),
      ]),
      ...onlyOn('gpu', [
        ...matmulChunks(operands, rowsMax, 1),
        ...matmulPanel(operands, rowsMax, { rowsTogether: 2, rowsFrom: 2, rowsTo: 2 }),
        ...matmulPanel(operands, rowsMax, { rowsTogether: 4, rowsFrom: 3, rowsTo: 4 }),
        ...matmulPanel(operands, rowsMax, { rowsTogether: 8, rowsFrom: 5, rowsTo: BLOCKS_FROM - 1 }),
        ...matmulBlock(operands, rowsMax, {
          rowsTogether: 64,
          rowsFrom: BLOCKS_FROM,
          rowsTo: Infinity,
          products: 'ordered',
        }),
      ]),
    ]),
    // Every row count by the same loop.
    ...onlyBy(
      'matrix',
      matmulBlock(operands, rowsMax, { rowsTogether: 32, rowsFrom: 1, rowsTo: Infinity, products: 'matrix' }),
    ),
  ]
}

/** One dispatch per window, for steps of fewer than `rowsBelow` rows. */
export function matmulSingle(operands: MatmulOperands, rowsMax: number, rowsBelow: number): Dispatch[] {
  checkShapes(operands)
  return operands.matrix.windows.map((window) => ({
    program: {
      name: 'matmul',
      source: wgsl('matmul', ...weightIncludes(operands.matrix.columnCount, window.format), 'matmul'),
      access: ['read', 'read', 'write'],
      constants: matmulConstants(operands, window, rowsMax),
    },
    bindings: matmulBindings(operands, window, rowsMax),
    grid: (rows) => (rows < rowsBelow ? [Math.ceil(window.rowCount / WORKGROUP_ROWS), rows, 1] : null),
  }))
}
