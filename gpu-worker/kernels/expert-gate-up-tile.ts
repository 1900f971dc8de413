/**
 * The routed experts' first product and SwiGLU for every (row, rank) pair: one dispatch per bank.
 *
 * By whole workgroups: the bits of expert-gate-up.
 */
import type { Dispatch } from '../gpu/program.ts'
import { perChunkShader } from './chunk-shader.ts'
import { GATE_UP_ACCESS, gateUpBindings, gateUpConstants, type ExpertGateUpOperands } from './expert-operands.ts'
import { wgsl } from './wgsl.ts'

/** Some values of one pair a workgroup. */
export function expertGateUpTile(operands: ExpertGateUpOperands, top: number, rowsMax: number): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.flatMap((bank) =>
    perChunkShader(hiddenSize, 2 * top * width, bank.gateUpFormat, ({ includes, tileRows, constants }) => ({
      program: {
        name: 'expert-gate-up-tile',
        source: wgsl('expert-gate-up-tile', ...includes, 'exp'),
        access: GATE_UP_ACCESS,
        constants: { ...gateUpConstants(operands, bank, top), ...constants },
      },
      bindings: gateUpBindings(operands, bank, top, rowsMax),
      grid: (rows) => [Math.ceil(width / tileRows), top, rows],
    })),
  )
}
