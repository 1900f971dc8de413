/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * By whole workgroups: the bits of expert-down.
 */
import type { Dispatch } from '../gpu/program.ts'
import { perChunkShader } from './chunk-shader.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { wgsl } from './wgsl.ts'

/** Some values of one pair a workgroup. */
export function expertDownTile(operands: ExpertDownOperands, top: number, rowsMax: number): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.flatMap((bank) =>
    perChunkShader(width, top * hiddenSize, bank.downFormat, ({ includes, tileRows, constants }) => ({
      program: {
        name: 'expert-down-tile',
        source: wgsl('expert-down-tile', ...includes),
        access: DOWN_ACCESS,
        constants: { ...downConstants(operands, bank, top), ...constants },
      },
      bindings: downBindings(operands, bank, top, rowsMax),
      grid: (rows) => [Math.ceil(hiddenSize / tileRows), top, rows],
    })),
  )
}
