/**
 * How large the synthetic weights of each kind of matrix are, so that a layer of them behaves like one: activations stay
 * near 1, attention prefers some keys, and no two experts are near a tie.
 *
 * By a module's name alone; it knows no format.
 */

/** Of one module's weights. */
export interface WeightRule {
  /** How much larger than its input the matrix makes its output. */
  readonly gain: number
  readonly isSigned: boolean
}

/** Norms: [½, 1), all positive. Scores of a few units make the softmax choose; so do logits of the router. */
export function weightRule(module: string): WeightRule & { readonly isNorm: boolean } {
  if (module.endsWith('norm')) return { gain: 1, isSigned: false, isNorm: true }
  const name = module.slice(module.lastIndexOf('.') + 1)
  return { gain: GAINS[name] ?? 1, isSigned: true, isNorm: false }
}

const GAINS: Readonly<Record<string, number>> = { q_b_proj: 4, o_proj: 2, gate: 2 }
