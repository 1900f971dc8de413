/**
 * The paged latent cache of one layer as the kernels see it: [blocks, 32 tokens, entry] in f32 or f16.
 *
 *     entry:  | latent, normed | zeros to a multiple of 4 | rope key, turned | zeros to a multiple of 4 |
 *
 * Knows nothing of which sequence owns which block.
 */
import type { Slice } from '../gpu/buffers.ts'
import { BLOCK_TOKENS } from './step-input.ts'

export interface LatentShape {
  readonly latent: number
  readonly rope: number
}

/** How the cache holds values: as computed, or rounded once when written. */
export type PageFormat = 'f32' | 'f16'

export interface LatentPages {
  readonly slice: Slice
  readonly shape: LatentShape
  readonly blockCount: number
  readonly format: PageFormat
}

/** Offsets within an entry, in values; multiples of 4, so that it is read as vec4. */
export function entryLayout({ latent, rope }: LatentShape): { readonly ropeStart: number; readonly entry: number } {
  const ropeStart = Math.ceil(latent / 4) * 4
  return { ropeStart, entry: ropeStart + Math.ceil(rope / 4) * 4 }
}

/** Of an entry in f32: what a query in latent space occupies, too. */
export function entryBytes(shape: LatentShape): number {
  return entryLayout(shape).entry * 4
}

/** Of one KV block in one layer. */
export function blockBytes(shape: LatentShape, format: PageFormat): number {
  return BLOCK_TOKENS * entryLayout(shape).entry * (format === 'f32' ? 4 : 2)
}
