/**
 * The paged latent cache of one layer as the kernels see it: f32 [blocks, 32 tokens, entry].
 *
 *     entry:  | latent, normed | zeros to a multiple of 4 | rope key, turned | zeros to a multiple of 4 |
 *
 * Knows nothing of which sequence owns which block.
 */
import type { Slice } from '../gpu/buffers.ts'

export interface LatentShape {
  readonly latent: number
  readonly rope: number
}

export interface LatentPages {
  readonly slice: Slice
  readonly shape: LatentShape
  readonly blockCount: number
}

/** Offsets within an entry, in values; multiples of 4, so that it is read as vec4. */
export function entryLayout({ latent, rope }: LatentShape): { readonly ropeStart: number; readonly entry: number } {
  const ropeStart = Math.ceil(latent / 4) * 4
  return { ropeStart, entry: ropeStart + Math.ceil(rope / 4) * 4 }
}

export function entryBytes(shape: LatentShape): number {
  return entryLayout(shape).entry * 4
}
