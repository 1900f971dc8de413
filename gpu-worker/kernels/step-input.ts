/**
 * What the host tells the GPU about a step, as the kernels read it.
 *
 *     rows      vec4<u32> [rows]         (token id, position, first entry of its block table, 0)
 *     rope      vec2<f32> [rows, pairs]  (cos, sin) of each row's position
 *     tables    u32 [entries]            KV blocks of each sequence, one sequence after the other
 *     picked    u32 [picked rows]        rows whose logits are wanted
 *     samplers  8 × u32 [picked rows]    (1 / temperature or 0, top k, top p, min p, seed, seed, index, 0): f32, u32, f32, f32, u32 …
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
  readonly attention: AttentionWork
}

export const ROW_RECORD_BYTES = 16
export const SAMPLER_RECORD_BYTES = 32

/** Tokens in one KV block: Batch's block tables count in these. */
export const BLOCK_TOKENS = 32
