/**
 * The parameters of a request that say how its tokens are chosen, and what is told of the choice.
 *
 * Limits are those of OpenAI, and of vLLM where the parameter is vLLM's. Whether a token id is one of the model's only the
 * model's worker knows. Pure: no HTTP, no messages.
 */
import { z } from 'zod'
import type { JobRequest } from '../contract/job.ts'
import * as limits from '../contract/limits.ts'
import { refuse } from './request-errors.ts'

const temperatureMax = 2

const penalty = z.number().min(-limits.penaltyMax).max(limits.penaltyMax).nullish()
/** One spelling an id, so that none stands twice. */
const tokenIdPattern = /^(0|[1-9][0-9]*)$/
const isTokenId = (key: string) => tokenIdPattern.test(key) && Number(key) <= limits.topKMax

/** Fields of the body. */
export const samplingFields = {
  temperature: z.number().min(0).max(temperatureMax).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  // vLLM writes "all" as −1, others as 0 or as more than any vocabulary has.
  top_k: z
    .int()
    .min(-1)
    .transform((topK) => Math.min(Math.max(0, topK), limits.topKMax))
    .nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  repetition_penalty: z
    .number()
    .min(1 / limits.repetitionPenaltyMax)
    .max(limits.repetitionPenaltyMax)
    .nullish(),
  // Counted before its entries are looked at.
  logit_bias: z
    .record(z.string(), z.unknown())
    .refine(
      (biases) => Object.keys(biases).length <= limits.biasedTokensMax,
      `expected at most ${limits.biasedTokensMax} tokens`,
    )
    .refine((biases) => Object.keys(biases).every(isTokenId), 'expected token ids as names: whole numbers from 0 on')
    .pipe(z.record(z.string(), z.number().min(-limits.logitBiasMax).max(limits.logitBiasMax)))
    .nullish(),
  min_tokens: z.int().min(0).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(limits.topLogprobsMax).nullish(),
}

export type SamplingParameters = z.infer<z.ZodObject<typeof samplingFields>>

/** @param maxTokens of the answer, where the request limits it. */
export function checkSampling(
  given: SamplingParameters,
  maxTokens: number | null,
  context: z.core.$RefinementCtx,
): void {
  if ((given.top_logprobs ?? 0) > 0 && given.logprobs !== true) {
    refuse(context, 'invalid_value', 'it is allowed only when logprobs is true', ['top_logprobs'])
  }
  if (maxTokens !== null && (given.min_tokens ?? 0) > maxTokens) {
    const text = 'min_tokens is more than the answer may have by max_tokens or max_completion_tokens.'
    refuse(context, 'contradictory_parameters', text, ['min_tokens'])
  }
}

export function samplingOf(
  given: SamplingParameters,
): Omit<JobRequest, 'messages' | 'thinking' | 'maxTokens' | 'stop'> {
  return {
    temperature: given.temperature ?? null,
    topP: given.top_p ?? null,
    topK: given.top_k ?? null,
    minP: given.min_p ?? null,
    frequencyPenalty: given.frequency_penalty ?? null,
    presencePenalty: given.presence_penalty ?? null,
    repetitionPenalty: given.repetition_penalty ?? null,
    logitBias: Object.entries(given.logit_bias ?? {}).map(([tokenId, bias]) => [Number(tokenId), bias]),
    minTokens: given.min_tokens ?? null,
    topLogprobs: given.logprobs === true ? (given.top_logprobs ?? 0) : null,
  }
}
