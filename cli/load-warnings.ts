/**
 * What a loaded model warns of, as lines for a terminal: what its layout found odd, and weights that are no numbers.
 *
 * It prints nothing.
 */
import type { LoadedRunner } from '../gpu-worker/model/load-runner.ts'

/** One broken shard may hold thousands of tensors. */
const BROKEN_SHOWN = 8

export function warningsOf({ warnings, notFinite }: Pick<LoadedRunner, 'warnings' | 'notFinite'>): string[] {
  const broken = [...notFinite]
    .slice(0, BROKEN_SHOWN)
    .map(([tensor, count]) => `${tensor}: ${valuesOf(count)} NaN or infinite`)
  const more = notFinite.size - broken.length
  if (more > 0) broken.push(`${more.toLocaleString('en')} more tensors with values that are NaN or infinite`)
  return [...warnings, ...broken].map((line) => `warning: ${line}`)
}

function valuesOf(count: number): string {
  return count === 1 ? '1 value is' : `${count.toLocaleString('en')} values are`
}
