/**
 * What the host tells the GPU about a step, as the kernels read it.
 *
 *     rows      vec4<u32> [rows]         (token id, position, first entry of its block table,
 *                                        0 or 1 + the place of its token in what the step before sampled)
 *     rope      vec2<f32> [rows, pairs]  (cos, sin) of each row's position
 *     tables    u32 [entries]            KV blocks of each sequence, one sequence after the other
 *     picked    u32 [picked rows]        rows whose logits are wanted
 *     samplers  16 × u32 [picked rows]   (1 / temperature or 0: f32, top k, top p: f32, min p: f32, seed, seed, index,
 *                                        forced token or NONE, first word of its mask or NONE, its changes: first, end,
 *                                        repetition: f32, presence: f32, frequency: f32,
 *                                        0 or 1 + how many log probabilities, 0)
 *     changes   vec4<u32> [changes]      (token, times in the answer, flags, bias: f32), a token once a sequence
 *     masks     u32 [masks, ⌈vocab / 32⌉]  a bit a token, the lowest first; 1 is allowed
 *
 * And how its attention is cut: attention-plan.ts.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { AttentionWork } from './attention-plan.ts'

export interface StepInput {
  readonly rows: Slice
  readonly rope: Slice
  readonly tables: Slice
  readonly picked: Slice
  readonly samplers: Slice
  readonly changes: Slice
  readonly masks: Slice
  readonly attention: AttentionWork
}

export const ROW_RECORD_BYTES = 16
export const SAMPLER_RECORD_BYTES = 64
/** Of one entry of `changes`. */
export const CHANGE_BYTES = 16
/** In a sampler: no forced token, no mask. */
export const NONE = 0xffffffff
/** Flags of a change: the token stands in prompt or answer; it may not be chosen. */
export const IS_SEEN = 1
export const IS_BARRED = 2

/** Tokens in one KV block: Batch's block tables count in these. */
export const BLOCK_TOKENS = 32
