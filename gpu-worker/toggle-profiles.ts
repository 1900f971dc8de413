/**
 * Sets of Dawn toggles for an operator to choose from. They choose what Dawn guards and offers, never a bit of an answer.
 *
 * Knows names alone; whether a toggle does anything is the adapter's business.
 */
export const toggleProfileNames = ['safe', 'default', 'fast'] as const

export type ToggleProfile = (typeof toggleProfileNames)[number]

/**
 * What Dawn holds back from NVIDIA's GPUs, f16 and the memory model that subgroup matrices want, and its features that are not
 * standard yet. Steps of axk1-tiny on an H100 took 12–24 % less time with these than without.
 */
const UNLOCKING = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia', 'use_vulkan_memory_model']

/**
 * What guards against our own mistakes, switched off: checks of every call, clamps of every index, defined results of
 * division by zero. No kernel relies on any, and what a step costs the host falls. Zeroed workgroup memory stays: counts of
 * `sort-pairs.wgsl` begin in it.
 */
const UNGUARDED = ['skip_validation', 'disable_robustness', 'disable_polyfills_on_integer_div_and_mod']

/** The same bits under each; `fast` is for operators who prefer a crash, or worse, to what the guards cost. */
export const toggleProfiles: Readonly<Record<ToggleProfile, readonly string[]>> = {
  safe: [],
  default: UNLOCKING,
  fast: [...UNLOCKING, ...UNGUARDED],
}
