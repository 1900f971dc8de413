/**
 * latent-scores by blocks of 64 heads and 64 keys: for steps of many splits.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionRule, LatentAttentionOperands } from './attention-operands.ts'
import { SCORES_ACCESS, scoresBindings, scoresConstants, SPLIT_TILES } from './score-operands.ts'
import { wgsl } from './wgsl.ts'

const BLOCK_HEADS = 64

/** For rounds of `splitsFrom` splits or more. */
export function latentScoresBlock(
  operands: LatentAttentionOperands,
  rule: AttentionRule,
  splitsFrom: number,
): Dispatch {
  return {
    program: {
      name: 'latent-scores-block',
      source: wgsl('latent-scores-block', `pages-${operands.pages.format}`, 'attention', 'quads'),
      access: SCORES_ACCESS,
      constants: scoresConstants(operands, rule),
    },
    bindings: scoresBindings(operands, rule.shape),
    grid: (splits) =>
      splits < splitsFrom ? null : [Math.ceil(rule.shape.headCount / BLOCK_HEADS) * SPLIT_TILES, splits, 1],
  }
}
