/**
 * How many threads Mesa's software driver computes with, where cores are few.
 *
 * llvmpipe hands the workgroups of every dispatch to a pool of threads and waits for them: some 20 µs a dispatch, more than a
 * small one computes. Without a pool the driver's own queue computes them, and this process has the other core. Knows no
 * Vulkan: it sets what the driver reads once, when it is opened; it reads it nowhere else, and other drivers not at all.
 */
const CORES_FEW = 2

/** What an operator set stands. */
export function tuneSoftwareDriver(environment: NodeJS.ProcessEnv, coreCount: number): void {
  if (coreCount <= CORES_FEW) environment['LP_NUM_THREADS'] ??= '0'
}
