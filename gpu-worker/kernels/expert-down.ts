/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 *
 * Two shaders, one arithmetic: a workgroup for 32 values on a GPU, a lane for four on a CPU.
 */
import { onlyOn, type Dispatch } from '../gpu/program.ts'
import { DOWN_ACCESS, downBindings, downConstants, type ExpertDownOperands } from './expert-operands.ts'
import { expertDownTile } from './expert-down-tile.ts'
import { weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256

export function expertDown(operands: ExpertDownOperands, top: number, rowsMax: number): Dispatch[] {
  return [
    ...onlyOn('cpu', expertDownSingle(operands, top, rowsMax)),
    ...onlyOn('gpu', expertDownTile(operands, top, rowsMax)),
  ]
}

/** Four values of one pair a lane. */
export function expertDownSingle(operands: ExpertDownOperands, top: number, rowsMax: number): Dispatch[] {
  const { hiddenSize, width, banks } = operands.experts
  return banks.map((bank) => ({
    program: {
      name: 'expert-down',
      source: wgsl('expert-down', ...weightIncludes(width, bank.downFormat)),
      access: DOWN_ACCESS,
      constants: downConstants(operands, bank, top),
    },
    bindings: downBindings(operands, bank, top, rowsMax),
    grid: (rows) => [Math.ceil(hiddenSize / WORKGROUP_ROWS), top, rows],
  }))
}
