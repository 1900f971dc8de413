/**
 * y = x · Wᵀ, one row at a time by whole workgroups: matmul's bits, a lane for each chunk.
 */
import type { Dispatch } from '../gpu/program.ts'
import { perChunkShader } from './chunk-shader.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { wgsl } from './wgsl.ts'

/** One dispatch per window, for steps of up to `rowsTo` rows. */
export function matmulChunks(operands: MatmulOperands, rowsMax: number, rowsTo: number): Dispatch[] {
  checkShapes(operands)
  const { columnCount, windows } = operands.matrix
  return windows.flatMap((window) =>
    perChunkShader(columnCount, window.rowCount, window.format, ({ includes, tileRows, constants }) => ({
      program: {
        name: 'matmul-chunks',
        source: wgsl('matmul-chunks', ...includes, 'matmul'),
        access: ['read', 'read', 'write'],
        constants: { ...matmulConstants(operands, window, rowsMax), ...constants },
      },
      bindings: matmulBindings(operands, window, rowsMax),
      grid: (rows) => (rows > rowsTo ? null : [Math.ceil(window.rowCount / tileRows), rows, 1]),
    })),
  )
}
