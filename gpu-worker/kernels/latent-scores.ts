/**
 * The scores of splits: what latent-mix turns into weights. On GPUs, where many workgroups beat few passes.
 *
 * Two shaders, one arithmetic: a few heads and keys a workgroup while splits are few, latent-scores-block from then on.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionRule, LatentAttentionOperands } from './attention-operands.ts'
import { latentScoresBlock } from './latent-scores-block.ts'
import { SCORES_ACCESS, scoresBindings, scoresConstants, SPLIT_TILES } from './score-operands.ts'
import { wgsl } from './wgsl.ts'

/** From so many splits on blocks of 64 heads fill a GPU. */
const BLOCKS_FROM = 16
const HEADS_TOGETHER = 16
/** Of 32 keys. */
const SPLIT_BLOCKS = 2 * SPLIT_TILES

export function latentScores(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch[] {
  return [latentScoresFew(operands, rule, BLOCKS_FROM), latentScoresBlock(operands, rule, BLOCKS_FROM)]
}

/** For rounds of fewer than `splitsBelow` splits. */
export function latentScoresFew(operands: LatentAttentionOperands, rule: AttentionRule, splitsBelow: number): Dispatch {
  return {
    program: {
      name: 'latent-scores',
      source: wgsl('latent-scores', `pages-${operands.pages.format}`, 'attention'),
      access: SCORES_ACCESS,
      constants: scoresConstants(operands, rule),
    },
    bindings: scoresBindings(operands, rule.shape),
    grid: (splits) =>
      splits < splitsBelow ? [Math.ceil(rule.shape.headCount / HEADS_TOGETHER) * SPLIT_BLOCKS, splits, 1] : null,
  }
}
