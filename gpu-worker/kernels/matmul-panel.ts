/**
 * y = x · Wᵀ for a few rows: workgroups of 32 weight rows, each weight decoded once for up to eight activation rows.
 */
import type { Dispatch } from '../gpu/program.ts'
import { checkShapes, matmulBindings, matmulConstants, type MatmulOperands } from './matmul-operands.ts'
import { panelShader, PANEL_ROWS } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** The steps that a dispatch is for, and how many of their rows a workgroup takes. */
export interface PanelSteps {
  readonly rowsTogether: 2 | 4 | 8
  readonly rowsFrom: number
  readonly rowsTo: number
}

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows: matmul's bits. */
export function matmulPanel(operands: MatmulOperands, rowsMax: number, steps: PanelSteps): Dispatch[] {
  checkShapes(operands)
  const { rowsTogether, rowsFrom, rowsTo } = steps
  const { columnCount, windows } = operands.matrix
  return windows.map((window) => {
    const { includes, chunkEights } = panelShader(columnCount, window.format)
    return {
      program: {
        name: 'matmul-panel',
        source: wgsl('matmul-panel', ...includes, 'matmul'),
        access: ['read', 'read', 'write'],
        constants: {
          ...matmulConstants(operands, window, rowsMax),
          ROWS_EACH: rowsTogether,
          CHUNK_EIGHTS: chunkEights,
        },
      },
      bindings: matmulBindings(operands, window, rowsMax),
      grid: (rows) =>
        rows < rowsFrom || rows > rowsTo
          ? null
          : [Math.ceil(window.rowCount / PANEL_ROWS), Math.ceil(rows / rowsTogether), 1],
    }
  })
}
