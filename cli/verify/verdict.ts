/**
 * What errors are bearable, by numerics profile, and how a table of them reads.
 *
 * It measures nothing and knows no model.
 */
import type { Profile } from '../../gpu-worker/model/profile.ts'
import type { PromptErrors } from './measure.ts'

/** Of the worst position. The f32 profile is held to the reference's own float32 noise, f16 KV and f16 products to what they round. */
export const NMSE_MAX: Readonly<Record<Profile, number>> = { exact: 1e-8, kv16: 1e-5, matrix: 1e-4 }

/**
 * What falls short, in words; empty when all holds. A rounded KV cache may tip a routing decision that stood on an edge;
 * what follows is another expert's answer, not a rounding error: in `kv16` the positions before that one are judged.
 */
export function shortfalls(results: readonly PromptErrors[], profile: Profile): string[] {
  const problems: string[] = []
  for (const { key, worst, worstRoutedAlike, routedElsewhere, greedyEqual, chunkingsEqual } of results) {
    const judged = profile === 'exact' ? worst : worstRoutedAlike
    if (judged !== null && !(judged.nmse <= NMSE_MAX[profile])) {
      const place = `${scientific(judged.nmse)} at position ${judged.position}`
      problems.push(`prompt ${key}: NMSE ${place}, expected ≤ ${scientific(NMSE_MAX[profile])}`)
    }
    if (profile === 'exact' && (routedElsewhere ?? 0) > 0)
      problems.push(`prompt ${key}: other experts at ${routedElsewhere} positions`)
    if (profile === 'exact' && greedyEqual === false) problems.push(`prompt ${key}: the greedy answer differs`)
    if (!chunkingsEqual) problems.push(`prompt ${key}: steps of other sizes give other bits`)
  }
  return problems
}

/** The worst NMSE of any prompt; 0 when the reference gave no logits. */
export function worstNmse(results: readonly PromptErrors[]): number {
  return Math.max(0, ...results.map(({ worst }) => worst?.nmse ?? 0))
}

/** The same, of the positions before a prompt's first that is routed elsewhere. */
export function worstNmseRoutedAlike(results: readonly PromptErrors[]): number {
  return Math.max(0, ...results.map(({ worstRoutedAlike }) => worstRoutedAlike?.nmse ?? 0))
}

export function meanNmse(results: readonly PromptErrors[]): number {
  const known = results.filter(({ meanNmse: mean }) => mean !== null)
  const tokens = known.reduce((sum, result) => sum + result.tokens, 0)
  return known.reduce((sum, result) => sum + (result.meanNmse ?? 0) * result.tokens, 0) / tokens
}

/** One line a prompt, for a terminal. */
export function tableOf(results: readonly PromptErrors[]): string {
  const rows = [
    ['prompt', 'tokens', 'worst NMSE', 'at', 'mean NMSE', 'routed elsewhere', 'greedy', 'chunkings'],
    ...results.map((result) => [
      result.key,
      `${result.tokens}`,
      result.worst ? scientific(result.worst.nmse) : '–',
      result.worst ? `${result.worst.position}` : '–',
      result.meanNmse === null ? '–' : scientific(result.meanNmse),
      result.routedElsewhere === null ? '–' : `${result.routedElsewhere}`,
      equality(result.greedyEqual),
      equality(result.chunkingsEqual),
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')).join('\n')
}

export function scientific(value: number): string {
  return value === 0 ? '0' : value.toExponential(1)
}

function equality(isEqual: boolean | null): string {
  if (isEqual === null) return '–'
  return isEqual ? 'equal' : 'DIFFER'
}
