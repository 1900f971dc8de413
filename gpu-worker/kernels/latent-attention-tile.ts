/**
 * Latent attention of whole rows by workgroups for sixteen heads: a GPU's way where there are heads enough to share a tile of
 * keys, and no slots for the row's splits.
 */
import type { Dispatch } from '../gpu/program.ts'
import {
  ATTENTION_ACCESS,
  attentionBindings,
  attentionConstants,
  type AttentionRule,
  type LatentAttentionOperands,
} from './attention-operands.ts'
import type { AttentionShape } from './attention-shape.ts'
import { entryLayout } from './latent-pages.ts'
import { wgsl } from './wgsl.ts'

const HEADS_TOGETHER = 16
/** Half of the heads that a workgroup computes must be real. */
const HEADS_MIN = 8
/** A lane holds one vec4 of a head's columns. */
const LATENT_MAX = 512

export function fitsTile(shape: AttentionShape): boolean {
  return shape.headCount >= HEADS_MIN && entryLayout(shape).ropeStart <= LATENT_MAX
}

/** For shapes that fit. */
export function attendByTiles(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch {
  const { shape } = rule
  return {
    program: {
      name: 'latent-attention-tile',
      source: wgsl(
        'latent-attention-tile',
        `pages-${operands.pages.format}`,
        'exp',
        'attention',
        'attention-rows',
        'mix',
        'quads',
      ),
      access: ATTENTION_ACCESS,
      constants: attentionConstants(operands, rule),
    },
    bindings: attentionBindings(operands, shape),
    grid: (items) => [Math.ceil(shape.headCount / HEADS_TOGETHER), items, 1],
  }
}
