/**
 * query-absorb by whole workgroups that share decoded weights: on GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import { queryAbsorbWindows, type QueryAbsorbOperands, type QueryAbsorbRule } from './query-absorb-operands.ts'
import { slabIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** The steps that a dispatch is for, and what a workgroup takes: rows and latent values in fours, rows of W_k at a time. */
export interface AbsorbSteps {
  readonly rowQuads: number
  readonly columnQuads: number
  readonly slabRows: number
  readonly rowsFrom: number
  readonly rowsTo: number
}

export function queryAbsorbTile(
  operands: QueryAbsorbOperands,
  rule: QueryAbsorbRule,
  { rowQuads, columnQuads, slabRows, rowsFrom, rowsTo }: AbsorbSteps,
): Dispatch[] {
  const { shape, rowsMax } = rule
  return queryAbsorbWindows(operands, rule).map(({ format, headCount, constants, access, bindings }) => ({
    program: {
      name: 'query-absorb-tile',
      source: wgsl('query-absorb-tile', ...slabIncludes(shape.latent, format), 'rope'),
      access,
      constants: {
        ...constants,
        ROWS_MAX: rowsMax,
        ROW_QUADS: rowQuads,
        COLUMN_QUADS: columnQuads,
        SLAB_ROWS: slabRows,
      },
    },
    bindings,
    grid: (rows) =>
      rows < rowsFrom || rows > rowsTo
        ? null
        : [headCount * Math.ceil(shape.latent / (4 * columnQuads)), Math.ceil(rows / (4 * rowQuads)), 1],
  }))
}
