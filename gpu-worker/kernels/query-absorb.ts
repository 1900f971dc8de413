/**
 * Brings each head's query into latent space (q_nope · W_k) and turns its rope part: one dispatch per kv_b window.
 *
 * Three shaders, one arithmetic: a lane for eight values of one row; several rows together on a CPU whose lanes can swap
 * values (query-absorb-lanes) and by a GPU's workgroups (query-absorb-tile).
 */
import { onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import { paddedColumns, VALUES_PER_UNIT } from './matrix.ts'
import { queryAbsorbLanes } from './query-absorb-lanes.ts'
import { queryAbsorbTile, type AbsorbSteps } from './query-absorb-tile.ts'
import { queryAbsorbWindows, type QueryAbsorbOperands, type QueryAbsorbRule } from './query-absorb-operands.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64
/** From here on decoding a weight once for four rows beats computing rows that nobody wants. */
const ROWS_TOGETHER_FROM = 3
/** On GPUs: a weight is decoded once for all rows of a workgroup. */
const GPU_STEPS: readonly AbsorbSteps[] = [
  { rowQuads: 1, rowsFrom: 1, rowsTo: 4 },
  { rowQuads: 2, rowsFrom: 5, rowsTo: 8 },
  { rowQuads: 8, rowsFrom: 9, rowsTo: Infinity },
]

export function queryAbsorb(
  operands: QueryAbsorbOperands,
  shape: AttentionShape,
  isInterleaved: boolean,
  rowsMax: number,
): Dispatch[] {
  const rule = { shape, isInterleaved, rowsMax }
  return [
    ...onlyOn('cpu', [
      ...withSubgroups(true, [
        ...queryAbsorbSingle(operands, rule, ROWS_TOGETHER_FROM),
        ...queryAbsorbLanes(operands, rule, ROWS_TOGETHER_FROM),
      ]),
      ...withSubgroups(false, queryAbsorbSingle(operands, rule, Infinity)),
    ]),
    ...onlyOn(
      'gpu',
      GPU_STEPS.flatMap((steps) => queryAbsorbTile(operands, rule, steps)),
    ),
  ]
}

/** For steps of fewer than `rowsBelow` rows. */
export function queryAbsorbSingle(operands: QueryAbsorbOperands, rule: QueryAbsorbRule, rowsBelow: number): Dispatch[] {
  const { latent, rope } = rule.shape
  /** Invocations of a head: units of its latent and pairs of its rope part. */
  const perHead = paddedColumns(latent) / VALUES_PER_UNIT + rope / 2
  return queryAbsorbWindows(operands, rule).map(({ format, headCount, constants, access, bindings }) => ({
    program: {
      name: 'query-absorb',
      source: wgsl('query-absorb', ...weightIncludes(latent, format), 'rope'),
      access,
      constants,
    },
    bindings,
    grid: (rows) => (rows < rowsBelow ? [Math.ceil((headCount * perHead) / WORKGROUP), rows, 1] : null),
  }))
}
