/**
 * The routed experts' second product for every (row, rank) pair: one dispatch per bank.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import type { LayerExperts } from './bank.ts'
import { bytesOfRows, rowBytes, type Activation } from './matrix.ts'
import { weightConstants, weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** Matrix rows of a workgroup: 64 invocations of four. */
const WORKGROUP_ROWS = 256

export interface ExpertDownOperands {
  readonly chosen: Slice
  /** f32 [rows · top, width] */
  readonly h: Activation
  readonly experts: LayerExperts
  /** f32 [rows · top, hidden] */
  readonly y: Activation
}

export function expertDown({ chosen, h, experts, y }: ExpertDownOperands, top: number, rowsMax: number): Dispatch[] {
  if (h.width !== experts.width || y.width !== experts.hiddenSize) {
    throw new RangeError(`Shapes do not fit: h ${h.width}, y ${y.width}, expert ${experts.hiddenSize}×${experts.width}`)
  }
  return experts.banks.map((bank) => {
    const format = bank.downFormat
    return {
      program: {
        name: 'expert-down',
        source: wgsl('expert-down', ...weightIncludes(experts.width, format)),
        access: ['read', 'read', 'read', 'read', 'write'],
        constants: {
          K: experts.width,
          WIDTH: experts.hiddenSize,
          TOP: top,
          BANK: bank.index,
          H_VECTORS: h.stride / 4,
          ...weightConstants(experts.width, format),
          Y_STRIDE: y.stride,
        },
      },
      bindings: [
        holding(chosen, rowsMax * top * 4, 'chosen'),
        holding(experts.places, experts.expertCount * 8, 'places'),
        holding(h.slice, bytesOfRows(h, rowsMax * top), 'h'),
        holding(bank.down, bank.slotCount * experts.hiddenSize * rowBytes(experts.width, format), 'down'),
        holding(y.slice, bytesOfRows(y, rowsMax * top), 'y'),
      ],
      grid: (rows) => [Math.ceil(experts.hiddenSize / WORKGROUP_ROWS), top, rows],
    }
  })
}
