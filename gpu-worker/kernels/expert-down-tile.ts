/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * By whole workgroups: the bits of expert-down.
 */
import type { Dispatch } from '../gpu/program.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { chunkShader } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Some values of one pair a workgroup. */
export function expertDownTile(operands: ExpertDownOperands, top: number, rowsMax: number): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => {
    const { includes, tileRows, constants } = chunkShader(width, bank.downFormat)
    return {
      program: {
        name: 'expert-down-tile',
        source: wgsl('expert-down-tile', ...includes),
        access: DOWN_ACCESS,
        constants: { ...downConstants(operands, bank, top), ...constants },
      },
      bindings: downBindings(operands, bank, top, rowsMax),
      grid: (rows) => [Math.ceil(hiddenSize / tileRows), top, rows],
    }
  })
}
