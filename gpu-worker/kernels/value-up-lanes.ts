/**
 * value-up by eight lanes that pass activations to one another: on CPU adapters that have subgroups.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import type { LaneRows } from './matmul-lanes.ts'
import { valueUpWindows, type ValueUpOperands } from './value-up-operands.ts'
import { LANES_ROWS, lanesIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

export function valueUpLanes(
  operands: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
  { together, rowsFrom, rowsTo }: LaneRows,
): Dispatch[] {
  return valueUpWindows(operands, shape, rowsMax).map(({ format, headCount, constants, access, bindings }) => ({
    subgroups: true,
    program: {
      name: 'value-up-lanes',
      source: wgsl('value-up-lanes', ...lanesIncludes(shape.latent, format)),
      access,
      constants: { ...constants, ROWS_MAX: rowsMax, ROWS_TOGETHER: together },
    },
    bindings,
    grid: (rows) =>
      rows < rowsFrom || rows > rowsTo
        ? null
        : [headCount * Math.ceil(shape.value / LANES_ROWS), Math.ceil(rows / together), 1],
  }))
}
