/**
 * latent-mix a tile at a time by small workgroups: for steps of many mixes, on GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { LatentAttentionOperands } from './attention-operands.ts'
import { entryLayout } from './latent-pages.ts'
import { MIX_ACCESS, mixBindings, mixConstants, type MixRule } from './mix-operands.ts'
import { wgsl } from './wgsl.ts'

const HEADS_TOGETHER = 8
const COLUMNS_TOGETHER = 256

/** For rounds of `mixesFrom` mixes or more. */
export function latentMixTile(operands: LatentAttentionOperands, rule: MixRule, mixesFrom: number): Dispatch {
  const { shape } = rule
  const groups = Math.ceil(shape.headCount / HEADS_TOGETHER)
  const slices = Math.ceil(entryLayout(shape).ropeStart / COLUMNS_TOGETHER)
  return {
    program: {
      name: 'latent-mix-tile',
      source: wgsl('latent-mix-tile', `pages-${operands.pages.format}`, 'exp', 'attention', 'mix', 'mix-tiles'),
      access: MIX_ACCESS,
      constants: mixConstants(operands, rule),
    },
    bindings: mixBindings(operands, shape),
    grid: (mixes) => (mixes < mixesFrom ? null : [groups * slices, mixes, 1]),
  }
}
