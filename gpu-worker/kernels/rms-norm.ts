/**
 * RMSNorm in its three uses: of a part of an activation, after a residual add, and of the rows picked for logits.
 *
 * All three run one arithmetic. `eps` is added to the mean of squares; division by the root, not a reciprocal root.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, rowBytes, type Activation, type ActivationPart, type WeightFormat } from './matrix.ts'
import { wgsl } from './wgsl.ts'

/** A norm's weight: one row [width] as stored. */
export interface NormWeight {
  readonly slice: Slice
  readonly format: WeightFormat
  readonly width: number
}

export function rmsNorm(x: ActivationPart, weight: NormWeight, y: Activation, eps: number, rowsMax: number): Dispatch {
  checkWidths(weight, x, y)
  const constants = {
    WIDTH: x.width,
    X_STRIDE: x.activation.stride,
    X_OFFSET: x.offset,
    Y_STRIDE: y.stride,
    EPS: eps,
  }
  return {
    program: { name: 'rms-norm', source: source('rms-norm', weight), access: ['read', 'read', 'write'], constants },
    bindings: [
      holding(x.activation.slice, bytesOfRows(x.activation, rowsMax), 'x'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}

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
      source: source('residual-norm', weight),
      access: ['write', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, STRIDE: x.stride, EPS: eps },
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

/** `picked` holds at most `pickedMax` row numbers; the grid counts picked rows. */
export function outputNorm(
  { x, delta, weight, y, picked }: ResidualNormOperands & { readonly picked: Slice },
  eps: number,
  rowsMax: number,
  pickedMax: number,
): Dispatch {
  checkWidths(weight, x, delta, y)
  return {
    program: {
      name: 'output-norm',
      source: source('output-norm', weight),
      access: ['read', 'read', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, STRIDE: x.stride, EPS: eps },
    },
    bindings: [
      holding(picked, pickedMax * 4, 'picked'),
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, pickedMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}

function source(name: 'rms-norm' | 'residual-norm' | 'output-norm', weight: NormWeight): string {
  return wgsl(name, `weights-${weight.format}`, 'dot', 'row-sum')
}

function weightBinding(weight: NormWeight): Slice {
  return holding(weight.slice, rowBytes(weight.width, weight.format), 'weight')
}

function checkWidths(weight: NormWeight, ...parts: readonly { readonly width: number }[]): void {
  const wrong = parts.find((part) => part.width !== weight.width)
  if (wrong !== undefined) throw new RangeError(`Shapes do not fit: weight ${weight.width}, operand ${wrong.width}`)
}
