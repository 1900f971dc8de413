/** What the engine tells of a token's likelihood → what the log keeps. It knows neither requests nor frames. */
import { logProbMin, type TokenChance } from '../contract/event.ts'
import type { TokenLogProb } from './engine/runner.ts'
import type { TokenSpelling } from './model/token-spelling.ts'

/** As many as tell any two values of f32 apart: a log holds up to 21 of them a token. */
const digits = 9

/** In the order given. */
export function chancesOf(
  logProbs: readonly TokenLogProb[],
  spell: (tokenId: number) => TokenSpelling,
): readonly TokenChance[] {
  return logProbs.map(({ tokenId, logProb }) => ({
    ...spell(tokenId),
    logProb: Math.max(logProbMin, Number(logProb.toPrecision(digits))),
  }))
}
