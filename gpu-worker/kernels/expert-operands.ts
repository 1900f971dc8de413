/**
 * What the routed experts' two products work on, and the constants and bindings that each of their shaders takes.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import type { Bank, LayerExperts } from './bank.ts'
import { bytesOfRows, rowBytes, type Activation } from './matrix.ts'
import { weightConstants } from './weight-shader.ts'

export interface ExpertGateUpOperands {
  /** u32 [rows, top] */
  readonly chosen: Slice
  /** f32 [rows, hidden] */
  readonly x: Activation
  readonly experts: LayerExperts
  /** f32 [rows · top, width] */
  readonly h: Activation
}

export interface ExpertDownOperands {
  readonly chosen: Slice
  /** f32 [rows · top, width] */
  readonly h: Activation
  readonly experts: LayerExperts
  /** f32 [rows · top, hidden] */
  readonly y: Activation
}

export const GATE_UP_ACCESS: readonly Access[] = ['read', 'read', 'read', 'read', 'read', 'write']

/** Throws a RangeError unless x, the experts and h fit each other. */
export function gateUpConstants({ x, experts, h }: ExpertGateUpOperands, bank: Bank, top: number) {
  if (x.width !== experts.hiddenSize || h.width !== experts.width) {
    throw new RangeError(`Shapes do not fit: x ${x.width}, h ${h.width}, expert ${experts.width}×${experts.hiddenSize}`)
  }
  return {
    K: experts.hiddenSize,
    WIDTH: experts.width,
    TOP: top,
    BANK: bank.index,
    X_VECTORS: x.stride / 4,
    ...weightConstants(experts.hiddenSize, bank.gateUpFormat),
    H_STRIDE: h.stride,
  }
}

export function gateUpBindings(
  { chosen, x, experts, h }: ExpertGateUpOperands,
  bank: Bank,
  top: number,
  rowsMax: number,
): Slice[] {
  const bankBytes = bank.slotCount * experts.width * rowBytes(experts.hiddenSize, bank.gateUpFormat)
  return [
    holding(chosen, rowsMax * top * 4, 'chosen'),
    holding(experts.places, experts.expertCount * 8, 'places'),
    holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
    holding(bank.gate, bankBytes, 'gate'),
    holding(bank.up, bankBytes, 'up'),
    holding(h.slice, bytesOfRows(h, rowsMax * top), 'h'),
  ]
}

export const DOWN_ACCESS: readonly Access[] = ['read', 'read', 'read', 'read', 'write']

/** Throws a RangeError unless h, the experts and y fit each other. */
export function downConstants({ h, experts, y }: ExpertDownOperands, bank: Bank, top: number) {
  if (h.width !== experts.width || y.width !== experts.hiddenSize) {
    throw new RangeError(`Shapes do not fit: h ${h.width}, y ${y.width}, expert ${experts.hiddenSize}×${experts.width}`)
  }
  return {
    K: experts.width,
    WIDTH: experts.hiddenSize,
    TOP: top,
    BANK: bank.index,
    H_VECTORS: h.stride / 4,
    ...weightConstants(experts.width, bank.downFormat),
    Y_STRIDE: y.stride,
  }
}

export function downBindings(
  { chosen, h, experts, y }: ExpertDownOperands,
  bank: Bank,
  top: number,
  rowsMax: number,
): Slice[] {
  const bankBytes = bank.slotCount * experts.hiddenSize * rowBytes(experts.width, bank.downFormat)
  return [
    holding(chosen, rowsMax * top * 4, 'chosen'),
    holding(experts.places, experts.expertCount * 8, 'places'),
    holding(h.slice, bytesOfRows(h, rowsMax * top), 'h'),
    holding(bank.down, bankBytes, 'down'),
    holding(y.slice, bytesOfRows(y, rowsMax * top), 'y'),
  ]
}
