/**
 * The routed experts' first product and SwiGLU for every (row, rank) pair: one dispatch per bank.
 *
 * By whole workgroups: the bits of expert-gate-up.
 */
import type { Dispatch } from '../gpu/program.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { chunkLanes, TILE_ROWS, tileIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** 32 values of one pair a workgroup; for steps of fewer than `rowsBelow` rows. */
export function expertGateUpTile(
  operands: ExpertGateUpOperands,
  top: number,
  rowsMax: number,
  rowsBelow = Infinity,
): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    program: {
      name: 'expert-gate-up-tile',
      source: wgsl('expert-gate-up-tile', ...tileIncludes(hiddenSize, bank.gateUpFormat, 1), 'exp'),
      access: GATE_UP_ACCESS,
      constants: { ...gateUpConstants(operands, bank, top), CHUNK_LANES: chunkLanes(hiddenSize) },
    },
    bindings: gateUpBindings(operands, bank, top, rowsMax),
    grid: (rows) => (rows < rowsBelow ? [Math.ceil(width / TILE_ROWS), top, rows] : null),
  }))
}
