/**
 * Brings each head's mixed latent to its value (W_v): one dispatch per kv_b window.
 *
 * Three shaders, one arithmetic: a lane for four values of one row; several rows together on a CPU whose lanes can swap
 * values (value-up-lanes); and by a GPU's workgroups (value-up-panel).
 */
import { onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import { valueUpLanes } from './value-up-lanes.ts'
import { valueUpPanel } from './value-up-panel.ts'
import { valueUpWindows, type ValueUpOperands } from './value-up-operands.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64
/** From here on decoding a weight once for four rows beats computing rows that nobody wants. */
const ROWS_TOGETHER_FROM = 3

export function valueUp(operands: ValueUpOperands, shape: AttentionShape, rowsMax: number): Dispatch[] {
  const lanes = { rowsFrom: ROWS_TOGETHER_FROM, rowsTo: 4, together: 4 } as const
  return [
    ...onlyOn('cpu', [
      ...withSubgroups(true, [
        ...valueUpSingle(operands, shape, rowsMax, ROWS_TOGETHER_FROM),
        ...valueUpLanes(operands, shape, rowsMax, lanes),
        ...valueUpLanes(operands, shape, rowsMax, { rowsFrom: 5, rowsTo: Infinity, together: 8 }),
      ]),
      ...withSubgroups(false, valueUpSingle(operands, shape, rowsMax, Infinity)),
    ]),
    ...onlyOn('gpu', [
      ...valueUpPanel(operands, shape, rowsMax, { rowsTogether: 2, rowsFrom: 1, rowsTo: 2 }),
      ...valueUpPanel(operands, shape, rowsMax, { rowsTogether: 4, rowsFrom: 3, rowsTo: 4 }),
      ...valueUpPanel(operands, shape, rowsMax, { rowsTogether: 8, rowsFrom: 5, rowsTo: Infinity }),
    ]),
  ]
}

/** For steps of fewer than `rowsBelow` rows. */
export function valueUpSingle(
  operands: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
  rowsBelow: number,
): Dispatch[] {
  return valueUpWindows(operands, shape, rowsMax).map(({ format, headCount, constants, access, bindings }) => ({
    program: {
      name: 'value-up',
      source: wgsl('value-up', ...weightIncludes(shape.latent, format)),
      access,
      constants,
    },
    bindings,
    grid: (rows) =>
      rows < rowsBelow ? [Math.ceil((headCount * Math.ceil(shape.value / 4)) / WORKGROUP), rows, 1] : null,
  }))
}
