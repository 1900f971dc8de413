/**
 * Adds up a row's experts in rank order, then the shared expert if any, then applies the norm after the MLP if any.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, rowBytes, type Activation } from './matrix.ts'
import type { NormWeight } from './norm-weight.ts'
import { wgsl } from './wgsl.ts'

export interface ExpertCombineOperands {
  /** f32 [rows, top] */
  readonly weights: Slice
  /** f32 [rows · top, hidden] */
  readonly y: Activation
  /** f32 [rows, hidden]; null: none. */
  readonly shared: Activation | null
  /** The norm after the MLP; null: none. */
  readonly norm: NormWeight | null
  /** f32 [rows, hidden] */
  readonly delta: Activation
}

export function expertCombine(operands: ExpertCombineOperands, top: number, eps: number, rowsMax: number): Dispatch {
  const { weights, y, shared, norm, delta } = operands
  if ([y, shared ?? delta, norm ?? delta].some((part) => part.width !== delta.width)) {
    throw new RangeError(`Shapes do not fit: y ${y.width}, shared ${shared?.width}, delta ${delta.width}`)
  }
  return {
    program: {
      name: 'expert-combine',
      source: wgsl('expert-combine', `weights-${norm?.format ?? 'f32'}`, 'quads', 'dot', 'row-sum'),
      access: ['read', 'read', 'read', 'read', 'write'],
      constants: {
        WIDTH: delta.width,
        STRIDE: delta.stride,
        TOP: top,
        HAS_SHARED: Number(shared !== null),
        HAS_NORM: Number(norm !== null),
        PER_VALUE: 1 / delta.width,
        EPS: eps,
      },
    },
    bindings: [
      holding(weights, rowsMax * top * 4, 'weights'),
      holding(y.slice, bytesOfRows(y, rowsMax * top), 'y'),
      // In place of what is not there any readable binding will do.
      shared === null ? weights : holding(shared.slice, bytesOfRows(shared, rowsMax), 'shared'),
      norm === null ? weights : holding(norm.slice, rowBytes(norm.width, norm.format), 'norm'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}
