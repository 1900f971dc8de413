/**
 * y = x · Wᵀ by eight lanes that pass activations to one another: matmul's bits, on CPU adapters that have subgroups.
 *
 * lavapipe, Mesa 25, one thread, bf16: 1024 × 1024 at 32 rows 9.9 → 28 GFLOP/s, 216 × 128 at 32 rows 8.8 → 23.
 */
import type { Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { LANES_ROWS, lanesIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** The steps that a dispatch is for, and how many rows of activations a workgroup takes at a time. */
export interface LaneRows {
  readonly together: 4 | 8
  readonly rowsFrom: number
  readonly rowsTo: number
}

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows; `rowsMax` is a multiple of 4. */
export function matmulLanes(operands: MatmulOperands, rowsMax: number, rows: LaneRows): Dispatch[] {
  checkShapes(operands)
  if (rowsMax % 4 !== 0) throw new RangeError('rowsMax must be a multiple of 4')
  const { together, rowsFrom, rowsTo } = rows
  const { columnCount, windows } = operands.matrix
  return windows.map((window) => ({
    subgroups: true,
    program: {
      name: 'matmul-lanes',
      source: wgsl('matmul-lanes', ...lanesIncludes(columnCount, window.format), 'matmul'),
      access: ['read', 'read', 'write'],
      constants: { ...matmulConstants(operands, window, rowsMax), ROWS_TOGETHER: together },
    },
    bindings: matmulBindings(operands, window, rowsMax),
    grid: (count) =>
      count < rowsFrom || count > rowsTo
        ? null
        : [Math.ceil(window.rowCount / LANES_ROWS), Math.ceil(count / together), 1],
  }))
}
