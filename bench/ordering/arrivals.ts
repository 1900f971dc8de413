/**
 * Who asks when in `bench ordering`, and for how much: 80 % short prompts, 20 % long, Poisson or in bursts.
 *
 * It does not know what a request becomes.
 */
import type { Dice } from '../../test/fixtures/dice.ts'

export type Pattern = 'poisson' | 'bursty'

export interface Arrival {
  readonly atMs: number
  readonly promptTokens: number
  readonly answerTokensMax: number
}

const shortShare = 0.8
export const shortTokens = [4, 64] as const
export const longTokens = [1_000, 1_900] as const
export const answerTokens = [8, 96] as const

/** @param shortLeast where a prompt holds more than what is asked, e.g. a template, the shortest has at least this. */
export function drawArrivals(
  draw: Dice,
  count: number,
  perMs: number,
  pattern: Pattern,
  shortLeast: number = shortTokens[0],
): Arrival[] {
  let atMs = 0
  return Array.from({ length: count }, () => {
    atMs += gap(draw, pattern) / perMs
    const promptTokens = draw.chance(shortShare) ? draw(shortLeast, shortTokens[1]) : draw(...longTokens)
    return { atMs, promptTokens, answerTokensMax: draw(...answerTokens) }
  })
}

/** A gap of mean 1: exponential, or four of five a tenth as long and the fifth 4.6 times (coefficient of variation 2.8). */
function gap(draw: Dice, pattern: Pattern): number {
  const exponential = -Math.log(draw(1, 2 ** 30) / 2 ** 30)
  if (pattern === 'poisson') return exponential
  return exponential * (draw.chance(0.8) ? 0.1 : 4.6)
}
