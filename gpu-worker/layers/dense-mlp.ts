/**
 * The MLP of a dense layer: SwiGLU between two products. The result is `delta`.
 */
import type { Dispatch } from '../gpu/program.ts'
import { matmul } from '../kernels/matmul.ts'
import type { Activation, Matrix } from '../kernels/matrix.ts'
import { swiglu } from '../kernels/swiglu.ts'

export interface DenseMlpWeights {
  /** gate_proj, then up_proj: [2 · width, hidden] */
  readonly gateUp: Matrix
  readonly down: Matrix
}

export interface DenseMlpScratch {
  /** f32 [rows, 2 · width] */
  readonly gateUp: Activation
  /** f32 [rows, width] */
  readonly hidden: Activation
}

export interface DenseMlpOperands {
  readonly weights: DenseMlpWeights
  readonly scratch: DenseMlpScratch
  readonly normed: Activation
  readonly delta: Activation
}

export function denseMlp({ weights, scratch, normed, delta }: DenseMlpOperands, rowsMax: number): Dispatch[] {
  const { gateUp, hidden } = scratch
  const gate = { activation: gateUp, offset: 0, width: hidden.width }
  const up = { activation: gateUp, offset: hidden.width, width: hidden.width }
  return [
    ...matmul({ x: normed, matrix: weights.gateUp, y: gateUp }, rowsMax),
    swiglu(gate, up, hidden, rowsMax),
    ...matmul({ x: hidden, matrix: weights.down, y: delta }, rowsMax),
  ]
}
