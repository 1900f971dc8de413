/**
 * Adds a layer's result to the residual stream and norms the sum: rms-norm's arithmetic.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { checkWidths, normForms, normWgsl, weightBinding, type NormWeight } from './norm-weight.ts'

export interface ResidualNormOperands {
  /** Residual stream; takes in delta. */
  readonly x: Activation
  readonly delta: Activation
  readonly weight: NormWeight
  readonly y: Activation
}

export function residualNorm({ x, delta, weight, y }: ResidualNormOperands, eps: number, rowsMax: number): Dispatch[] {
  checkWidths(weight, x, delta, y)
  return normForms((sum) => ({
    program: {
      name: 'residual-norm',
      source: normWgsl('residual-norm', sum),
      access: ['write', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, VECTORS: x.stride / 4, PER_VALUE: 1 / x.width, EPS: eps },
    },
    bindings: [
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }))
}
