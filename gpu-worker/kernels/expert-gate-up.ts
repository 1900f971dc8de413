/**
 * The routed experts' first product and SwiGLU for every (row, rank) pair: one dispatch per bank.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import type { LayerExperts } from './bank.ts'
import { bytesOfRows, rowBytes, type Activation } from './matrix.ts'
import { weightConstants, weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256

export interface ExpertGateUpOperands {
  /** u32 [rows, top] */
  readonly chosen: Slice
  /** f32 [rows, hidden] */
  readonly x: Activation
  readonly experts: LayerExperts
  /** f32 [rows · top, width] */
  readonly h: Activation
}

export function expertGateUp(operands: ExpertGateUpOperands, top: number, rowsMax: number): Dispatch[] {
  const { chosen, x, experts, h } = operands
  if (x.width !== experts.hiddenSize || h.width !== experts.width) {
    throw new RangeError(`Shapes do not fit: x ${x.width}, h ${h.width}, expert ${experts.width}×${experts.hiddenSize}`)
  }
  return experts.banks.map((bank) => {
    const format = bank.gateUpFormat
    const bankBytes = bank.slotCount * experts.width * rowBytes(experts.hiddenSize, format)
    return {
      program: {
        name: 'expert-gate-up',
        source: wgsl('expert-gate-up', ...weightIncludes(experts.hiddenSize, format), 'exp'),
        access: ['read', 'read', 'read', 'read', 'read', 'write'],
        constants: {
          K: experts.hiddenSize,
          WIDTH: experts.width,
          TOP: top,
          BANK: bank.index,
          X_VECTORS: x.stride / 4,
          ...weightConstants(experts.hiddenSize, format),
          H_STRIDE: h.stride,
        },
      },
      bindings: [
        holding(chosen, rowsMax * top * 4, 'chosen'),
        holding(experts.places, experts.expertCount * 8, 'places'),
        holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
        holding(bank.gate, bankBytes, 'gate'),
        holding(bank.up, bankBytes, 'up'),
        holding(h.slice, bytesOfRows(h, rowsMax * top), 'h'),
      ],
      grid: (rows) => [Math.ceil(experts.width / WORKGROUP_ROWS), top, rows],
    }
  })
}
