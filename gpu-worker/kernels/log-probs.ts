/**
 * Log probabilities of the token chosen and of the likeliest, for the rows that ask for them.
 */
import { topLogprobsMax } from '../../contract/limits.ts'
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { SAMPLER_RECORD_BYTES } from './step-input.ts'
import { wgsl } from './wgsl.ts'

/** Of the likeliest tokens. */
export const LOGPROBS_MAX = topLogprobsMax
/** The chosen one, then the likeliest. */
const ENTRIES = 1 + LOGPROBS_MAX
const ENTRY_WORDS = 2
/** 256 lanes are added as 16 times 16. */
const FAN = 16

export interface LogProbsOperands {
  /** f32 [sequences, vocab] */
  readonly logits: Activation
  readonly samplers: Slice
  /** `sampledBytes` */
  readonly sampled: Slice
}

export interface TokenLogProb {
  readonly tokenId: number
  readonly logProb: number
}

/** Room for the tokens of `sequencesMax` sequences and, behind them, their log probabilities. */
export function sampledBytes(sequencesMax: number): number {
  return sequencesMax * (1 + ENTRIES * ENTRY_WORDS) * 4
}

export function logProbs({ logits, samplers, sampled }: LogProbsOperands, sequencesMax: number): Dispatch {
  return {
    program: {
      name: 'log-probs',
      source: wgsl('log-probs', 'exp', 'log', 'sampler', 'row-order', 'row-choice', 'row-ahead'),
      access: ['read', 'read', 'write'],
      constants: { VOCAB: logits.width, VECTORS: logits.stride / 4, SEQUENCES: sequencesMax, ENTRIES, FAN },
    },
    bindings: [
      holding(logits.slice, bytesOfRows(logits, sequencesMax), 'logits'),
      holding(samplers, sequencesMax * SAMPLER_RECORD_BYTES, 'samplers'),
      holding(sampled, sampledBytes(sequencesMax), 'sampled'),
    ],
    grid: (sequences) => [sequences, 1, 1],
  }
}

/** The chosen token's, then the `count` likeliest, of one sequence of a read-back `sampled`. */
export function logProbsOf(
  sampled: Uint32Array<ArrayBuffer>,
  sequence: number,
  sequencesMax: number,
  count: number,
): readonly TokenLogProb[] {
  const values = new Float32Array(sampled.buffer, sampled.byteOffset, sampled.length)
  const first = sequencesMax + sequence * ENTRIES * ENTRY_WORDS
  return Array.from({ length: 1 + count }, (_, i) => ({
    tokenId: sampled[first + i * ENTRY_WORDS] ?? 0,
    logProb: values[first + i * ENTRY_WORDS + 1] ?? NaN,
  }))
}
