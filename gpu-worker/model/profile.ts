/**
 * The numerics profiles an operator can choose from. Within one, equal fingerprints give equal bits; between them, not.
 *
 * Knows names and what they change, no arithmetic. A profile is never chosen by timing.
 */
import type { PageFormat } from '../kernels/latent-pages.ts'

/**
 * `exact`: f32 cache and residual stream, f32 router. `kv16`: the same with the cache in f16, half the bytes a token.
 * A name changes whenever bits change by something that the shaders' text does not show: `rope.ts`, a size that a
 * launch passes.
 */
export const profiles = ['exact', 'kv16'] as const

export type Profile = (typeof profiles)[number]

export function pageFormat(profile: Profile): PageFormat {
  return profile === 'kv16' ? 'f16' : 'f32'
}
