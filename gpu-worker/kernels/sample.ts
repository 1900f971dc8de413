/**
 * Chooses the next token of every sampled sequence on the GPU.
 */
import type { Slice } from '../gpu/buffers.ts'
import { byWidth, holding, onlyOn, withSubgroups, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { SAMPLER_RECORD_BYTES } from './step-input.ts'
import { wgsl, type Include } from './wgsl.ts'

/** Written instead of a token id when a logit of the row is NaN or infinite. */
export const NOT_FINITE = 0xffffffff

/** Counts of tokens must be exact in f32. */
const VOCAB_MAX = 1 << 24

/** Borders that a sampler may draw: by count (top k), then by mass (top p). */
const BORDERS = 2
/** 256 lanes are added as 16 times 16. */
const FAN = 16

export interface SampleOperands {
  /** f32 [sequences, vocab] */
  readonly logits: Activation
  readonly samplers: Slice
  /** u32 [sequences] */
  readonly sampled: Slice
}

/** By 256 lanes or 512, or on CPU adapters by eight that pass values to one another: the same tokens. */
export function sample(operands: SampleOperands, sequencesMax: number): Dispatch[] {
  const byWorkgroup = sampleBy(['row-order', 'row-choice'], operands, sequencesMax)
  return [
    ...onlyOn('gpu', [
      ...byWidth('narrow', [byWorkgroup]),
      ...byWidth('wide', [sampleBy(['row-order', 'row-choice-wide'], operands, sequencesMax)]),
    ]),
    ...onlyOn('cpu', [
      ...withSubgroups(false, [byWorkgroup]),
      ...withSubgroups(true, [sampleBy(['subgroups', 'row-order', 'row-choice-lanes'], operands, sequencesMax)]),
    ]),
  ]
}

/** `choice`: includes that say who looks at which tokens, and find the best and add up. */
export function sampleBy(
  choice: readonly Include[],
  { logits, samplers, sampled }: SampleOperands,
  sequencesMax: number,
): Dispatch {
  if (logits.width >= VOCAB_MAX) throw new RangeError(`Cannot sample from ${logits.width} tokens, limit ${VOCAB_MAX}`)
  return {
    program: {
      name: 'sample',
      source: wgsl('sample', ...choice, 'row-ahead', 'exp', 'log', 'sampler', 'gumbel', 'sample-borders'),
      access: ['read', 'read', 'write'],
      constants: { VOCAB: logits.width, VECTORS: logits.stride / 4, BORDERS, ROUNDS: roundsFor(logits.width), FAN },
    },
    bindings: [
      holding(logits.slice, bytesOfRows(logits, sequencesMax), 'logits'),
      holding(samplers, sequencesMax * SAMPLER_RECORD_BYTES, 'samplers'),
      holding(sampled, sequencesMax * 4, 'sampled'),
    ],
    grid: (sequences) => [sequences, 1, 1],
  }
}

/** Of a border: one for the whole, 16 for a key of 32 bits, one for who is at it, then as many as cover an id's bits. */
function roundsFor(vocab: number): number {
  const idBits = 32 - Math.clz32(vocab - 1)
  return 1 + 32 / 2 + 1 + Math.ceil(idBits / 2)
}
