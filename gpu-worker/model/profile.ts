/**
 * The numerics profiles an operator can choose from. Within one, equal fingerprints give equal bits; between them, not.
 *
 * Knows names and what they change, no arithmetic. A profile is never chosen by timing.
 */
import type { Gpu } from '../gpu/device.ts'
import { GpuError } from '../gpu/gpu-error.ts'
import type { Products } from '../gpu/program.ts'
import type { PageFormat } from '../kernels/latent-pages.ts'

/**
 * `exact`: f32 cache and residual stream, f32 router. `kv16`: the same with the cache in f16, half the bytes a token.
 * `matrix`: `kv16` with weights and activations rounded to f16 as they enter a product, whatever its number of rows, for
 * matrix units that add up in f32; attention's own products stay as they are.
 * A name changes whenever bits change by something that the shaders' text does not show: `rope.ts`, a size that a
 * launch passes.
 */
export const profiles = ['exact', 'kv16', 'matrix'] as const

/** Those that every adapter computes: products in the order of the contract. */
export const orderedProfiles = ['exact', 'kv16'] as const satisfies readonly Profile[]

export type Profile = (typeof profiles)[number]

export function pageFormat(profile: Profile): PageFormat {
  return profile === 'exact' ? 'f32' : 'f16'
}

export function productsOf(profile: Profile): Products {
  return profile === 'matrix' ? 'matrix' : 'ordered'
}

/** Throws GpuError 'pipeline' where this adapter lacks what the profile computes on. */
export function checkProfile(profile: Profile, gpu: Gpu): void {
  if (productsOf(profile) !== 'matrix' || (gpu.hasMatrices && gpu.processor === 'gpu')) return
  throw new GpuError(
    'pipeline',
    `Profile matrix needs matrix units (16 × 16 × 16, f16 to f32) and Dawn's toggles allow_unsafe_apis, ` +
      `use_vulkan_memory_model and, on NVIDIA, vulkan_enable_f16_on_nvidia: ${gpu.adapter.description} offers none. ` +
      'Choose another profile, or switch the toggles on.',
  )
}
