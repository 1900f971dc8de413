/**
 * query-absorb by whole workgroups that share decoded weights: on GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import { queryAbsorbWindows, type QueryAbsorbOperands, type QueryAbsorbRule } from './query-absorb-operands.ts'
import { slabIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Latent values of a workgroup. */
const SLICE = 64

/** The steps that a dispatch is for, and how many of their rows a workgroup takes, in fours. */
export interface AbsorbSteps {
  readonly rowQuads: number
  readonly rowsFrom: number
  readonly rowsTo: number
}

export function queryAbsorbTile(
  operands: QueryAbsorbOperands,
  rule: QueryAbsorbRule,
  { rowQuads, rowsFrom, rowsTo }: AbsorbSteps,
): Dispatch[] {
  const { shape, rowsMax } = rule
  return queryAbsorbWindows(operands, rule).map(({ format, headCount, constants, access, bindings }) => ({
    program: {
      name: 'query-absorb-tile',
      source: wgsl('query-absorb-tile', ...slabIncludes(shape.latent, format), 'rope'),
      access,
      constants: { ...constants, ROWS_MAX: rowsMax, ROW_QUADS: rowQuads },
    },
    bindings,
    grid: (rows) =>
      rows < rowsFrom || rows > rowsTo
        ? null
        : [headCount * Math.ceil(shape.latent / SLICE), Math.ceil(rows / (4 * rowQuads)), 1],
  }))
}
