/**
 * Merges what latent-attention left of single splits into the rows' outputs.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import type { AttentionWork, Round } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { entryLayout } from './latent-pages.ts'
import { wgsl } from './wgsl.ts'

/** Of a workgroup. */
const LANES = 64

export interface LatentMergeOperands {
  readonly work: AttentionWork
  /** f32 [slots, heads, latent padded to 4, then (sum, max, 0, 0)] */
  readonly parts: Slice
  /** f32 [rows, heads, latent padded to 4] */
  readonly mixed: Slice
}

/** What one split of one row leaves for its merge. */
export function partBytes(shape: AttentionShape): number {
  return shape.headCount * (entryLayout(shape).ropeStart + 4) * 4
}

/** The grid counts the merges of the round. */
export function latentMerge(
  { work, parts, mixed }: LatentMergeOperands,
  shape: AttentionShape,
  round: Round,
): Dispatch {
  const { ropeStart } = entryLayout(shape)
  const cells = shape.headCount * (ropeStart / 4)
  return {
    program: {
      name: 'latent-merge',
      source: wgsl('latent-merge', 'exp'),
      access: ['read', 'read', 'write'],
      constants: { HEADS: shape.headCount, LATENT_VECTORS: ropeStart / 4, FIRST_MERGE: round * work.slotCount },
    },
    bindings: [
      work.merges,
      holding(parts, work.slotCount * partBytes(shape), 'parts'),
      holding(mixed, work.rowsMax * cells * 16, 'mixed'),
    ],
    grid: (merges) => [Math.ceil(cells / LANES), merges, 1],
  }
}
