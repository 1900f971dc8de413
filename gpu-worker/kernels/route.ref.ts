/** Group-limited routing of one row in f64, by sorting: transformers' AXK1TopkRouter. */
import type { RoutingRule } from './route.ts'

export function routeReference(
  logits: ArrayLike<number>,
  bias: ArrayLike<number>,
  rule: RoutingRule,
): { readonly chosen: number[]; readonly weights: number[] } {
  const probabilities = Array.from({ length: rule.expertCount }, (_, e) => 1 / (1 + Math.exp(-(logits[e] ?? 0))))
  const choice = probabilities.map((p, e) => p + (bias[e] ?? 0))
  const perGroup = rule.expertCount / rule.groupCount
  const scores = Array.from({ length: rule.groupCount }, (_, g) =>
    choice
      .slice(g * perGroup, (g + 1) * perGroup)
      .toSorted((a, b) => b - a)
      .slice(0, 2)
      .reduce((sum, c) => sum + c, 0),
  )
  const kept = new Set(byScore(scores).slice(0, rule.groupsKept))
  const chosen = byScore(choice)
    .filter((e) => kept.has(Math.floor(e / perGroup)))
    .slice(0, rule.top)
  const sum = chosen.reduce((total, e) => total + (probabilities[e] ?? 0), 0)
  const divisor = rule.isNormalised ? sum + 1e-20 : 1
  const weights = chosen.map((e) => ((probabilities[e] ?? 0) / divisor) * rule.scaling)
  if (!rule.hasShared) return { chosen, weights }
  return { chosen: [...chosen, rule.expertCount], weights: [...weights, 1] }
}

/** Indexes, highest score first, the lower index first among equals. */
function byScore(scores: readonly number[]): number[] {
  return scores.map((_, i) => i).toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
}
