/**
 * Multi-head latent attention over the paged cache, in absorbed form: queries and outputs live in latent space.
 *
 * Several ways, one arithmetic: a workgroup of 64 lanes for four heads; on a CPU whose lanes can swap values, 8 of one
 * subgroup; on a GPU, where a model has heads enough, splits in stages (their scores, then what they mix) and whole rows
 * by 256 lanes for sixteen heads.
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
import { latentMix } from './latent-mix.ts'
import { entryLayout } from './latent-pages.ts'
import { latentScores } from './latent-scores.ts'
import { wgsl } from './wgsl.ts'

/** Round by round, what `planAttention` says; `scale` multiplies every score. */
export function latentAttention(
  operands: LatentAttentionOperands,
  shape: AttentionShape,
  scale: number,
): RowDispatch<AttentionRowSet>[] {
  const rounds = ROUNDS.flatMap((round) =>
    counted(`splits-${round}`, splitsOnAnyAdapter(operands, { shape, scale, round })).concat(
      counted(`mixes-${round}`, fitsTile(shape) ? onlyOn('gpu', latentMix(operands, { shape, round })) : []),
      counted(`merges-${round}`, [latentMerge(operands, shape, round)]),
    ),
  )
  return [...rounds, ...counted('wholes', rowsOnAnyAdapter(operands, { shape, scale, round: 'wholes' }))]
}

function counted(rows: AttentionRowSet, dispatches: readonly Dispatch[]): RowDispatch<AttentionRowSet>[] {
  return dispatches.map((dispatch) => ({ dispatch, rows }))
}

function splitsOnAnyAdapter(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch[] {
  const onGpus = fitsTile(rule.shape) ? latentScores(operands, rule) : [attend(operands, rule)]
  return [...onCpus(operands, rule), ...onlyOn('gpu', onGpus)]
}

function rowsOnAnyAdapter(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch[] {
  const onGpu = fitsTile(rule.shape) ? attendByTiles(operands, rule) : attend(operands, rule)
  return [...onCpus(operands, rule), ...onlyOn('gpu', [onGpu])]
}

function onCpus(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch[] {
  return onlyOn('cpu', [
    { ...attendByLanes(operands, rule), subgroups: true },
    { ...attend(operands, rule), subgroups: false },
  ])
}

function attend(operands: LatentAttentionOperands, rule: AttentionRule): Dispatch {
  const { shape } = rule
  const { ropeStart, entry } = entryLayout(shape)
  return {
    program: {
      name: 'latent-attention',
      source: wgsl('latent-attention', `pages-${operands.pages.format}`, 'exp', 'attention', 'attention-rows', 'quads'),
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
