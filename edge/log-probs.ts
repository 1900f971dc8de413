/**
 * Log probabilities as OpenAI shapes them: of the tokens that the content is made of, each with the likeliest beside it.
 *
 * Reasoning has none, and neither has a control token that makes no text: it ends the answer, or is nothing the client
 * sees. As an alternative it shows, by its spelling and without bytes. Pure.
 */
import type { TokenChance, TokenEntry } from '../contract/event.ts'

const utf8 = new TextEncoder()

/** In the order of the tokens; empty where nothing is to be told. */
export function logProbContent({ logProbs = [] }: TokenEntry) {
  return logProbs.flatMap(([chosen, ...likeliest]) =>
    chosen === undefined || chosen.bytes === null
      ? []
      : [{ ...chanceObject(chosen), top_logprobs: likeliest.map(chanceObject) }],
  )
}

/** OpenAI's `logprobs` of a choice. */
export function logProbsObject(content: ReturnType<typeof logProbContent>) {
  return { content, refusal: null }
}

function chanceObject({ token, bytes = [...utf8.encode(token)], logProb }: TokenChance) {
  return { token, logprob: logProb, bytes: bytes === null ? null : [...bytes] }
}
