/**
 * y = x · Wᵀ for steps of one row by eight lanes that pass its activations to one another: matmul's bits.
 *
 * lavapipe, Mesa 25, one thread, bf16: 4096 × 7168 5.7 → 6.8 GB/s of weights; small matrices gain nothing.
 */
import type { Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { lanesIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 lanes of one. */
const WORKGROUP_ROWS = 64

/** One dispatch per window, for steps of fewer than `rowsBelow` rows: each row by itself. */
export function matmulLane(operands: MatmulOperands, rowsMax: number, rowsBelow: number): Dispatch[] {
  checkShapes(operands)
  const { columnCount, windows } = operands.matrix
  return windows.map((window) => ({
    subgroups: true,
    program: {
      name: 'matmul-lane',
      source: wgsl('matmul-lane', ...lanesIncludes(columnCount, window.format), 'matmul'),
      access: ['read', 'read', 'write'],
      constants: matmulConstants(operands, window, rowsMax),
    },
    bindings: matmulBindings(operands, window, rowsMax),
    grid: (count) => (count < rowsBelow ? [Math.ceil(window.rowCount / WORKGROUP_ROWS), count, 1] : null),
  }))
}
