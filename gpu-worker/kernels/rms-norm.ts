/**
 * RMSNorm of a part of each row. `eps` is added to the mean of squares; division by the root, not a reciprocal root.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation, type ActivationPart } from './matrix.ts'
import { checkWidths, normSource, weightBinding, type NormWeight } from './norm-weight.ts'

export function rmsNorm(x: ActivationPart, weight: NormWeight, y: Activation, eps: number, rowsMax: number): Dispatch {
  checkWidths(weight, x, y)
  const constants = {
    WIDTH: x.width,
    X_STRIDE: x.activation.stride,
    X_OFFSET: x.offset,
    Y_STRIDE: y.stride,
    PER_VALUE: 1 / x.width,
    EPS: eps,
  }
  return {
    program: { name: 'rms-norm', source: normSource('rms-norm', weight), access: ['read', 'read', 'write'], constants },
    bindings: [
      holding(x.activation.slice, bytesOfRows(x.activation, rowsMax), 'x'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}
