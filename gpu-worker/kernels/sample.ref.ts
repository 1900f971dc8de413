/**
 * The sampler in f64, by sorting: temperature, top k, top p, min p, then Gumbel-max over what is kept.
 *
 * Only the hash is the kernel's own: it is the definition of the randomness.
 */

/** Batch's SamplerRow. */
export interface SamplerFields {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly seed: readonly [number, number]
  readonly index: number
  readonly forcedToken?: number
}

/** A logit of −Infinity stands for a token that may not be chosen. `margin`: by how much the winner's perturbed logit beats the next; a kernel in f32 may differ below 1e-4 or so. */
export function sampleReference(
  logits: ArrayLike<number>,
  sampler: SamplerFields,
): { readonly tokenId: number; readonly margin: number; readonly kept: readonly number[] } {
  const { forcedToken } = sampler
  if (forcedToken !== undefined) return { tokenId: forcedToken, margin: Infinity, kept: [forcedToken] }
  const all = Array.from(logits, (logit, id) => ({ id, logit })).filter(({ logit }) => logit > -Infinity)
  const ranked = all.toSorted((a, b) => b.logit - a.logit || a.id - b.id)
  const best = ranked[0] ?? { id: 0, logit: 0 }
  if (sampler.temperature === 0) return { tokenId: best.id, margin: Infinity, kept: [best.id] }
  const scaled = ranked.map(({ id, logit }) => ({ id, shifted: (logit - best.logit) / sampler.temperature }))
  const counted = sampler.topK > 0 ? scaled.slice(0, sampler.topK) : scaled
  const likely = withinMass(counted, sampler.topP).filter(({ shifted }) => Math.exp(shifted) >= sampler.minP)
  const perturbed = likely
    .map(({ id, shifted }) => ({ id, score: shifted + gumbel(sampler, id) }))
    .toSorted((a, b) => b.score - a.score || a.id - b.id)
  const [winner, second] = perturbed
  const margin = (winner?.score ?? 0) - (second?.score ?? -Infinity)
  return { tokenId: winner?.id ?? -1, margin, kept: likely.map(({ id }) => id) }
}

interface Candidate {
  readonly id: number
  readonly shifted: number
}

/** The shortest prefix whose mass reaches the fraction. */
function withinMass(candidates: readonly Candidate[], fraction: number): readonly Candidate[] {
  if (fraction >= 1) return candidates
  const goal = fraction * candidates.reduce((sum, { shifted }) => sum + Math.exp(shifted), 0)
  let sum = 0
  let count = 0
  for (const { shifted } of candidates) {
    count += 1
    sum += Math.exp(shifted)
    if (sum >= goal) break
  }
  return candidates.slice(0, count)
}

function gumbel({ seed, index }: SamplerFields, id: number): number {
  return -Math.log(-Math.log1p(-(hash(seed[0], seed[1], index, id) + 0.5) / 2 ** 32))
}

/** pcg4d, first word, in 32-bit arithmetic. */
function hash(...input: [number, number, number, number]): number {
  let [x, y, z, w] = input.map((word) => (Math.imul(word, 1664525) + 1013904223) | 0) as typeof input
  for (let round = 0; round < 2; round++) {
    x = (x + Math.imul(y, w)) | 0
    y = (y + Math.imul(z, x)) | 0
    z = (z + Math.imul(x, y)) | 0
    w = (w + Math.imul(y, z)) | 0
    if (round === 0) [x, y, z, w] = [x ^ (x >>> 16), y ^ (y >>> 16), z ^ (z >>> 16), w ^ (w >>> 16)]
  }
  return x >>> 0
}
