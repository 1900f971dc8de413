/**
 * Latent attention by 8 lanes of one subgroup, without barriers: for software drivers.
 */
import type { Dispatch } from '../gpu/program.ts'
import {
  ATTENTION_ACCESS,
  attentionBindings,
  attentionConstants,
  HEADS_TOGETHER,
  type AttentionRule,
  type LatentAttentionOperands,
} from './attention-operands.ts'
import { entryLayout } from './latent-pages.ts'
import { wgsl } from './wgsl.ts'

/** Of a workgroup: no subgroup has fewer. */
const LANES = 8

export function attendByLanes(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch {
  const { shape } = rule
  const turns = Math.ceil(entryLayout(shape).ropeStart / 4 / LANES)
  return {
    program: {
      name: 'latent-attention-lanes',
      source: wgsl(
        'latent-attention-lanes',
        'subgroups',
        `pages-${operands.pages.format}`,
        'exp',
        'attention',
        'attention-rows',
      ),
      access: ATTENTION_ACCESS,
      constants: {
        ...attentionConstants(operands, rule),
        OUT_CELLS: turns * HEADS_TOGETHER * LANES,
      },
    },
    bindings: attentionBindings(operands, shape),
    grid: (items) => [Math.ceil(shape.headCount / HEADS_TOGETHER), items, 1],
  }
}
