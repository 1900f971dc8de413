/**
 * Penalties, biases and masks: what requests want of their logits before a token is chosen.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { SAMPLER_RECORD_BYTES } from './step-input.ts'
import { wgsl } from './wgsl.ts'

/** Ids of a workgroup. */
const SLICE = 4096

export interface AdjustLogitsOperands {
  /** f32 [sequences, vocab] */
  readonly logits: Activation
  readonly samplers: Slice
  readonly changes: Slice
  readonly masks: Slice
  /** As `logits`. */
  readonly adjusted: Activation
}

export function adjustLogits(
  { logits, samplers, changes, masks, adjusted }: AdjustLogitsOperands,
  sequencesMax: number,
): Dispatch {
  if (logits.stride !== adjusted.stride || logits.width !== adjusted.width) {
    throw new RangeError(`Shapes do not fit: ${logits.width} logits, ${adjusted.width} adjusted`)
  }
  return {
    program: {
      name: 'adjust-logits',
      source: wgsl('adjust-logits', 'sampler'),
      access: ['read', 'read', 'read', 'read', 'write'],
      constants: { VOCAB: logits.width, STRIDE: logits.stride },
    },
    bindings: [
      holding(logits.slice, bytesOfRows(logits, sequencesMax), 'logits'),
      holding(samplers, sequencesMax * SAMPLER_RECORD_BYTES, 'samplers'),
      changes,
      masks,
      holding(adjusted.slice, bytesOfRows(adjusted, sequencesMax), 'adjusted'),
    ],
    grid: (sequences) => [sequences, Math.ceil(logits.width / SLICE), 1],
  }
}
