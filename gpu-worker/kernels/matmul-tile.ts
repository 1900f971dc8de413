/**
 * y = x · Wᵀ by whole workgroups: matmul's bits, its chunks shared among lanes.
 */
import type { Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { perShader, tileShaders } from './weight-shader.ts'
import { wgsl, type ColumnCount } from './wgsl.ts'

/** The steps that a dispatch is for, and how many rows of activations a workgroup takes at a time. */
export interface TileColumns {
  readonly columns: ColumnCount
  readonly rowsFrom: number
  readonly rowsTo: number
}

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows. */
export function matmulTile(operands: MatmulOperands, rowsMax: number, tile: TileColumns): Dispatch[] {
  checkShapes(operands)
  const { columns, rowsFrom, rowsTo } = tile
  const { columnCount, windows } = operands.matrix
  return windows.flatMap((window) =>
    perShader(tileShaders(columnCount, window.format, columns), ({ includes, tileRows, chunkLanes }) => ({
      program: {
        name: 'matmul-tile',
        source: wgsl('matmul-tile', ...includes, 'matmul'),
        access: ['read', 'read', 'write'],
        constants: {
          ...matmulConstants(operands, window, rowsMax),
          CHUNK_LANES: chunkLanes,
        },
      },
      bindings: matmulBindings(operands, window, rowsMax),
      grid: (rows) =>
        rows < rowsFrom || rows > rowsTo ? null : [Math.ceil(window.rowCount / tileRows), Math.ceil(rows / columns), 1],
    })),
  )
}
