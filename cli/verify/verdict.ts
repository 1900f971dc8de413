/**
 * What errors are bearable, by numerics profile, and how a table of them reads.
 *
 * It measures nothing and knows no model.
 */
import type { Profile } from '../../gpu-worker/model/profile.ts'
import type { PromptErrors } from './measure.ts'

/** Of the worst position. The f32 profile is held to the reference's own float32 noise, bf16 KV to what it rounds. */
export const NMSE_MAX: Readonly<Record<Profile, number>> = { exact: 1e-8, kv16: 1e-5 }

/** What falls short, in words; empty when all holds. */
export function shortfalls(results: readonly PromptErrors[], profile: Profile): string[] {
  const problems: string[] = []
  for (const { key, worst, expertsEqual, greedyEqual, chunkingsEqual } of results) {
    if (worst !== null && !(worst.nmse <= NMSE_MAX[profile])) {
      problems.push(
        `prompt ${key}: NMSE ${scientific(worst.nmse)} at position ${worst.position}, expected ≤ ${NMSE_MAX[profile]}`,
      )
    }
    if (expertsEqual === false) problems.push(`prompt ${key}: other experts were routed to`)
    if (greedyEqual === false) problems.push(`prompt ${key}: the greedy answer differs`)
    if (!chunkingsEqual) problems.push(`prompt ${key}: steps of other sizes give other bits`)
  }
  return problems
}

/** The worst NMSE of any prompt; 0 when the reference gave no logits. */
export function worstNmse(results: readonly PromptErrors[]): number {
  return Math.max(0, ...results.map(({ worst }) => worst?.nmse ?? 0))
}

export function meanNmse(results: readonly PromptErrors[]): number {
  const known = results.filter(({ meanNmse: mean }) => mean !== null)
  const tokens = known.reduce((sum, result) => sum + result.tokens, 0)
  return known.reduce((sum, result) => sum + (result.meanNmse ?? 0) * result.tokens, 0) / tokens
}

/** One line a prompt, for a terminal. */
export function tableOf(results: readonly PromptErrors[]): string {
  const rows = [
    ['prompt', 'tokens', 'worst NMSE', 'at', 'mean NMSE', 'experts', 'greedy', 'chunkings'],
    ...results.map((result) => [
      result.key,
      `${result.tokens}`,
      result.worst ? scientific(result.worst.nmse) : '–',
      result.worst ? `${result.worst.position}` : '–',
      result.meanNmse === null ? '–' : scientific(result.meanNmse),
      equality(result.expertsEqual),
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
