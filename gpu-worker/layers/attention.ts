/**
 * Multi-head latent attention of one layer: norm, projections, cache write, attention, output projection.
 *
 * The residual stream is not touched: the result is `delta`. Knows nothing of the MLP that follows.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import type { AttentionRowSet } from '../kernels/attention-plan.ts'
import type { AttentionShape } from '../kernels/attention-shape.ts'
import { latentAttention } from '../kernels/latent-attention.ts'
import type { LatentPages } from '../kernels/latent-pages.ts'
import { latentWrite } from '../kernels/latent-write.ts'
import { matmul } from '../kernels/matmul.ts'
import type { Activation, ActivationPart, Matrix } from '../kernels/matrix.ts'
import { queryAbsorb } from '../kernels/query-absorb.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import type { StepInput } from '../kernels/step-input.ts'
import { valueUp } from '../kernels/value-up.ts'

export interface AttentionWeights {
  /** Queries, first half: q_a_proj with its norm and q_b_proj, or q_proj alone; and kv_a_proj_with_mqa below its rows. */
  readonly project: Matrix
  readonly lowRankQuery: { readonly norm: NormWeight; readonly up: Matrix } | null
  readonly latentNorm: NormWeight
  /** kv_b_proj [heads · (nope + value), latent] in windows of whole heads. */
  readonly kvB: Matrix
  readonly out: Matrix
}

/** What attention needs between its kernels; shared by all layers. */
export interface AttentionScratch {
  /** f32 [rows, queries or query rank, then latent + rope] */
  readonly projected: Activation
  /** f32 [rows, query rank] and f32 [rows, heads · (nope + rope)]; null without a query rank. */
  readonly lowRankQuery: { readonly normed: Activation; readonly q: Activation } | null
  /** f32 [rows, heads, cache entry] */
  readonly queries: Slice
  /** Scores of splits, and what these leave for their merge. */
  readonly scores: Slice
  readonly parts: Slice
  /** f32 [rows, heads, latent padded to 4], `mixedBytes` */
  readonly mixed: Slice
  /** f32 [rows, heads · value] */
  readonly values: Activation
}

export interface AttentionRule {
  readonly shape: AttentionShape
  readonly scale: number
  readonly eps: number
  readonly isInterleaved: boolean
  readonly rowsMax: number
}

export interface AttentionOperands {
  readonly step: StepInput
  readonly weights: AttentionWeights
  readonly scratch: AttentionScratch
  readonly pages: LatentPages
  /** f32 [rows, hidden], already normed. */
  readonly normed: Activation
  readonly delta: Activation
}

export function attention(operands: AttentionOperands, rule: AttentionRule): RowDispatch<'all' | AttentionRowSet>[] {
  const { step, weights, scratch, pages, normed, delta } = operands
  const { shape, scale, eps, isInterleaved, rowsMax } = rule
  const kvWidth = shape.latent + shape.rope
  const queryWidth = scratch.projected.width - kvWidth
  const first: ActivationPart = { activation: scratch.projected, offset: 0, width: queryWidth }
  const kv: ActivationPart = { activation: scratch.projected, offset: queryWidth, width: kvWidth }
  const { rows, tables, rope } = step
  const { queries, scores, parts, mixed, values } = scratch
  const lowRank = lowRankOf(weights, scratch)
  // Without a query rank nothing goes there, and `normed` has been read by then.
  const query = lowRank?.normed ?? normed
  const queryWeight = lowRank?.norm ?? null
  const latent = { rows, tables, rope, kv, weight: weights.latentNorm, pages, queryWeight, query }
  const q = lowRank === null ? first : { activation: lowRank.q, offset: 0, width: lowRank.q.width }
  const before = [
    ...matmul({ x: normed, matrix: weights.project, y: scratch.projected }, rowsMax),
    ...latentWrite(latent, eps, isInterleaved, rowsMax),
    ...(lowRank === null ? [] : matmul({ x: lowRank.normed, matrix: lowRank.up, y: lowRank.q }, rowsMax)),
    ...queryAbsorb({ rope, q, kvB: weights.kvB, queries }, shape, isInterleaved, rowsMax),
  ]
  const after = [
    ...valueUp({ mixed, kvB: weights.kvB, y: values }, shape, rowsMax),
    ...matmul({ x: values, matrix: weights.out, y: delta }, rowsMax),
  ]
  return [
    ...overAllRows(before),
    ...latentAttention({ rows, tables, work: step.attention, pages, queries, scores, parts, mixed }, shape, scale),
    ...overAllRows(after),
  ]
}

export function overAllRows(dispatches: readonly Dispatch[]): RowDispatch<'all'>[] {
  return dispatches.map((dispatch) => ({ dispatch, rows: 'all' }))
}

type LowRankQuery = NonNullable<AttentionWeights['lowRankQuery']> & NonNullable<AttentionScratch['lowRankQuery']>

/** Null in models without a query rank: their queries come as projected. */
function lowRankOf(weights: AttentionWeights, scratch: AttentionScratch): LowRankQuery | null {
  if (weights.lowRankQuery === null || scratch.lowRankQuery === null) {
    if (weights.lowRankQuery !== scratch.lowRankQuery) throw new RangeError('A query rank needs weights and scratch')
    return null
  }
  return { ...weights.lowRankQuery, ...scratch.lowRankQuery }
}
