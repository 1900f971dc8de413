/**
 * Multi-head latent attention over the paged cache, in absorbed form: queries and outputs live in latent space.
 *
 * Three shaders, one arithmetic: a workgroup of 64 lanes for four heads; on a GPU, of 256 for sixteen where a model has as
 * many; on a CPU whose lanes can swap values, 8 of one subgroup.
 */
import { onlyOn, type Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import {
  ATTENTION_ACCESS,
  attentionBindings,
  attentionConstants,
  HEADS_TOGETHER,
  type AttentionRule,
  type LatentAttentionOperands,
} from './attention-operands.ts'
import { ROUNDS, type AttentionRowSet } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { attendByLanes } from './latent-attention-lanes.ts'
import { attendByTiles, fitsTile } from './latent-attention-tile.ts'
import { latentMerge } from './latent-merge.ts'
import { entryLayout } from './latent-pages.ts'
import { wgsl } from './wgsl.ts'

/** Round by round, what `planAttention` says; `scale` multiplies every score. */
export function latentAttention(
  operands: LatentAttentionOperands,
  shape: AttentionShape,
  scale: number,
): RowDispatch<AttentionRowSet>[] {
  return ROUNDS.flatMap((round) => {
    const attends = onAnyAdapter(operands, { shape, scale, round })
    return attends
      .map((dispatch): RowDispatch<AttentionRowSet> => ({ dispatch, rows: `items-${round}` }))
      .concat({ dispatch: latentMerge(operands, shape, round), rows: `merges-${round}` })
  })
}

function onAnyAdapter(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch[] {
  const general = attend(operands, rule)
  return [
    ...onlyOn('cpu', [
      { ...attendByLanes(operands, rule), subgroups: true },
      { ...general, subgroups: false },
    ]),
    ...onlyOn('gpu', [fitsTile(rule.shape) ? attendByTiles(operands, rule) : general]),
  ]
}

function attend(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch {
  const { shape } = rule
  const { ropeStart, entry } = entryLayout(shape)
  return {
    program: {
      name: 'latent-attention',
      source: wgsl('latent-attention', `pages-${operands.pages.format}`, 'exp', 'attention', 'quads'),
      access: ATTENTION_ACCESS,
      constants: {
        ...attentionConstants(operands, rule),
        QUERY_CELLS: HEADS_TOGETHER * (entry / 4),
        OUT_CELLS: HEADS_TOGETHER * (ropeStart / 4 + 1),
      },
    },
    bindings: attentionBindings(operands, shape),
    grid: (items) => [Math.ceil(shape.headCount / HEADS_TOGETHER), items, 1],
  }
}
