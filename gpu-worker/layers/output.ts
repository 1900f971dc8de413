/**
 * From the residual stream to tokens: final norm of the picked rows, their logits, and the sampler.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import { adjustLogits } from '../kernels/adjust-logits.ts'
import { logProbs } from '../kernels/log-probs.ts'
import { matmul } from '../kernels/matmul.ts'
import type { Activation, Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { outputNorm } from '../kernels/output-norm.ts'
import { sample } from '../kernels/sample.ts'
import type { StepInput } from '../kernels/step-input.ts'

export interface OutputWeights {
  readonly norm: NormWeight
  /** [vocab, hidden] */
  readonly head: Matrix
}

export interface OutputOperands {
  readonly step: StepInput
  readonly weights: OutputWeights
  readonly x: Activation
  /** f32 [picked rows, hidden] */
  readonly picked: Activation
  /** f32 [picked rows, vocab] */
  readonly logits: Activation
}

export interface OutputRule {
  readonly eps: number
  readonly rowsMax: number
  readonly pickedMax: number
}

/** Logits of the picked rows; the grid counts picked rows. */
export function outputLogits(operands: OutputOperands, { eps, rowsMax, pickedMax }: OutputRule): Dispatch[] {
  const { step, weights, x, picked, logits } = operands
  const norm = { picked: step.picked, x, weight: weights.norm, y: picked }
  return [
    ...outputNorm(norm, eps, rowsMax, pickedMax),
    ...matmul({ x: picked, matrix: weights.head, y: logits }, pickedMax),
  ]
}

/** How the picked rows are sampled: from their logits as they are, or all of them adjusted first when any asks
 * for it; then, when any asks, told with their log probabilities. */
export type SampledRowSet = 'plain' | 'adjusted' | 'told'

export interface TokenOperands {
  readonly logits: Activation
  /** As `logits`. */
  readonly adjusted: Activation
  readonly sampled: Slice
}

/** The picked rows' next tokens: u32 [picked rows]. */
export function outputTokens(
  { samplers, changes, masks }: StepInput,
  { logits, adjusted, sampled }: TokenOperands,
  pickedMax: number,
): RowDispatch<SampledRowSet>[] {
  return [
    ...over('plain', sample({ logits, samplers, sampled }, pickedMax)),
    { dispatch: adjustLogits({ logits, samplers, changes, masks, adjusted }, pickedMax), rows: 'adjusted' },
    ...over('adjusted', sample({ logits: adjusted, samplers, sampled }, pickedMax)),
    { dispatch: logProbs({ logits, samplers, sampled }, pickedMax), rows: 'told' },
  ]
}

function over(rows: SampledRowSet, dispatches: readonly Dispatch[]): RowDispatch<SampledRowSet>[] {
  return dispatches.map((dispatch) => ({ dispatch, rows }))
}
