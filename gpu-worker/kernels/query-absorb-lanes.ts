/**
 * query-absorb by eight lanes that pass queries to one another: on CPU adapters that have subgroups.
 */
import type { Dispatch } from '../gpu/program.ts'
import { paddedColumns, VALUES_PER_UNIT } from './matrix.ts'
import { queryAbsorbWindows, type QueryAbsorbOperands, type QueryAbsorbRule } from './query-absorb-operands.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const LANES = 8
/** Of a lane. */
const ROWS = 4

/** For steps of `rowsFrom` rows or more. */
export function queryAbsorbLanes(operands: QueryAbsorbOperands, rule: QueryAbsorbRule, rowsFrom: number): Dispatch[] {
  const { shape, rowsMax } = rule
  const units = paddedColumns(shape.latent) / VALUES_PER_UNIT
  const unitLanes = units <= LANES / 2 ? LANES / 2 : LANES
  const rowsTogether = (ROWS * LANES) / unitLanes
  return queryAbsorbWindows(operands, rule).map(({ format, headCount, constants, access, bindings }) => ({
    subgroups: true,
    program: {
      name: 'query-absorb-lanes',
      source: wgsl('query-absorb-lanes', 'subgroups', ...weightIncludes(shape.latent, format), 'rope'),
      access,
      constants: { ...constants, UNIT_LANES: unitLanes, ROWS_MAX: rowsMax },
    },
    bindings,
    grid: (rows) =>
      rows < rowsFrom ? null : [headCount * Math.ceil(units / unitLanes), Math.ceil(rows / rowsTogether), 1],
  }))
}
