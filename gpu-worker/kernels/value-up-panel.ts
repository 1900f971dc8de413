/**
 * value-up for several rows: workgroups of 32 values of one head, each weight decoded once for up to eight rows. On GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import type { PanelSteps } from './matmul-panel.ts'
import { valueUpWindows, type ValueUpOperands } from './value-up-operands.ts'
import { panelShader, PANEL_ROWS } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows. */
export function valueUpPanel(
  operands: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
  { rowsTogether, rowsFrom, rowsTo }: PanelSteps,
): Dispatch[] {
  return valueUpWindows(operands, shape, rowsMax).map(({ format, headCount, constants, access, bindings }) => {
    const { includes, chunkEights } = panelShader(shape.latent, format)
    return {
      program: {
        name: 'value-up-panel',
        source: wgsl('value-up-panel', ...includes),
        access,
        constants: { ...constants, ROWS_MAX: rowsMax, ROWS_EACH: rowsTogether, CHUNK_EIGHTS: chunkEights },
      },
      bindings,
      grid: (rows) =>
        rows < rowsFrom || rows > rowsTo
          ? null
          : [headCount * Math.ceil(shape.value / PANEL_ROWS), Math.ceil(rows / rowsTogether), 1],
    }
  })
}
