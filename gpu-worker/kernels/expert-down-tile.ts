/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * By whole workgroups: the bits of expert-down.
 */
import type { Dispatch } from '../gpu/program.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { chunkLanes, TILE_ROWS, tileIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** 32 values of one pair a workgroup; for steps of fewer than `rowsBelow` rows. */
export function expertDownTile(
  operands: ExpertDownOperands,
  top: number,
  rowsMax: number,
  rowsBelow = Infinity,
): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    program: {
      name: 'expert-down-tile',
      source: wgsl('expert-down-tile', ...tileIncludes(width, bank.downFormat, 1)),
      access: DOWN_ACCESS,
      constants: { ...downConstants(operands, bank, top), CHUNK_LANES: chunkLanes(width) },
    },
    bindings: downBindings(operands, bank, top, rowsMax),
    grid: (rows) => (rows < rowsBelow ? [Math.ceil(hiddenSize / TILE_ROWS), top, rows] : null),
  }))
}
