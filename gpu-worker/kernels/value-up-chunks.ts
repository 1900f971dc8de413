/**
 * value-up one row at a time by whole workgroups, a lane for each chunk: on GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import { valueUpWindows, type ValueUpOperands } from './value-up-operands.ts'
import { chunkShader } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** One dispatch per window, for steps of up to `rowsTo` rows. */
export function valueUpChunks(
  operands: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
  rowsTo: number,
): Dispatch[] {
  return valueUpWindows(operands, shape, rowsMax).map(({ format, headCount, constants, access, bindings }) => {
    const { includes, tileRows, constants: own } = chunkShader(shape.latent, format)
    return {
      program: {
        name: 'value-up-chunks',
        source: wgsl('value-up-chunks', ...includes),
        access,
        constants: { ...constants, ...own },
      },
      bindings,
      grid: (rows) => (rows > rowsTo ? null : [headCount * Math.ceil(shape.value / tileRows), rows, 1]),
    }
  })
}
