/**
 * Ends an expert layer: adds up a row's experts in rank order, applies the norm after the MLP if any, adds the result to
 * the residual stream and norms that for the layer that follows, if any.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { checkWidths, normForms, normWgsl, weightBinding, type NormWeight } from './norm-weight.ts'

export interface ExpertCombineOperands {
  /** f32 [rows, top] */
  readonly weights: Slice
  /** f32 [rows · top, hidden] */
  readonly y: Activation
  /** The norm after the MLP; null: none. */
  readonly norm: NormWeight | null
  /** The residual stream: takes in the layer's result. */
  readonly x: Activation
  /** The norm that follows; null: none. */
  readonly next: NormWeight | null
  /** Room for a row's result, and then, with `next`, the residual stream normed. */
  readonly normed: Activation
}

/** `top`: experts a row, a shared one among them. */
export function expertCombine(operands: ExpertCombineOperands, top: number, eps: number, rowsMax: number): Dispatch[] {
  const { weights, y, norm, x, next, normed } = operands
  // In place of what is not there any readable binding will do.
  const bound = (weight: NormWeight | null): Slice => (weight === null ? weights : weightBinding(weight))
  checkWidths(norm ?? x, y, x, normed, next ?? x)
  return normForms((sum) => ({
    program: {
      name: 'expert-combine',
      source: normWgsl('expert-combine', sum),
      access: ['read', 'read', 'read', 'read', 'write', 'write'],
      constants: {
        WIDTH: x.width,
        VECTORS: x.stride / 4,
        TOP: top,
        HAS_NORM: Number(norm !== null),
        HAS_NEXT: Number(next !== null),
        PER_VALUE: 1 / x.width,
        EPS: eps,
      },
    },
    bindings: [
      holding(weights, rowsMax * top * 4, 'weights'),
      holding(y.slice, bytesOfRows(y, rowsMax * top), 'y'),
      bound(norm),
      bound(next),
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(normed.slice, bytesOfRows(normed, rowsMax), 'normed'),
    ],
    grid: (rows) => [rows, 1, 1],
  }))
}
