/**
 * Adds a layer's result to the residual stream and norms the sum: rms-norm's arithmetic.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { checkWidths, normSource, weightBinding, type NormWeight } from './norm-weight.ts'

export interface ResidualNormOperands {
  /** Residual stream; takes in delta. */
  readonly x: Activation
  readonly delta: Activation
  readonly weight: NormWeight
  readonly y: Activation
}

export function residualNorm({ x, delta, weight, y }: ResidualNormOperands, eps: number, rowsMax: number): Dispatch {
  checkWidths(weight, x, delta, y)
  return {
    program: {
      name: 'residual-norm',
      source: normSource('residual-norm', weight),
      access: ['write', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, STRIDE: x.stride, PER_VALUE: 1 / x.width, EPS: eps },
    },
    bindings: [
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}
