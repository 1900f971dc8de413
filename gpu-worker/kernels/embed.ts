/**
 * Looks up the embedding of every row's token: one dispatch per window of the table.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import type { Slice } from '../gpu/buffers.ts'
import { bytesOfRows, rowBytes, type Activation, type Matrix } from './matrix.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'
import { weightConstants, weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64

export interface EmbedOperands {
  readonly rows: Slice
  /** u32 [sequences, ..]: what the step before sampled */
  readonly sampled: Slice
  /** [vocab, hidden] */
  readonly table: Matrix
  /** f32 [rows, hidden] */
  readonly x: Activation
}

export function embed({ rows, sampled, table, x }: EmbedOperands, rowsMax: number): Dispatch[] {
  if (x.width !== table.columnCount) throw new RangeError(`Shapes do not fit: x ${x.width}, table ${table.columnCount}`)
  return table.windows.map((window) => {
    const constants = {
      WIDTH: x.width,
      ...weightConstants(table.columnCount, window.format),
      ROW_START: window.rowStart,
      ROWS_IN_WINDOW: window.rowCount,
      X_STRIDE: x.stride,
    }
    return {
      program: {
        name: 'embed',
        source: wgsl('embed', ...weightIncludes(table.columnCount, window.format)),
        access: ['read', 'read', 'read', 'write'],
        constants,
      },
      bindings: [
        holding(rows, rowsMax * ROW_RECORD_BYTES, 'rows'),
        sampled,
        holding(window.slice, window.rowCount * rowBytes(table.columnCount, window.format), 'table'),
        holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      ],
      grid: (count) => [Math.ceil(x.width / WORKGROUP), count, 1],
    }
  })
}
