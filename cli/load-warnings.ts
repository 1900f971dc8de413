/**
 * What a loaded model warns of, as lines for a terminal: what its layout found odd, and weights that are no numbers.
 *
 * It prints nothing.
 */
import type { LoadedRunner } from '../gpu-worker/model/load-runner.ts'

export function warningsOf({ warnings, notFinite }: LoadedRunner): string[] {
  const broken = [...notFinite].map(([tensor, count]) => `${tensor}: ${count} values are NaN or infinite`)
  return [...warnings, ...broken].map((line) => `warning: ${line}`)
}
