/**
 * From a claimed record to what the engine is asked for: prompt tokens, sampling, what the log already holds.
 *
 * Pure but for the template and tokenizer behind ModelText; it does not know Redis, BullMQ or the GPU.
 */
import { AppError } from '../contract/errors.ts'
import type { JobRecord, JobRequest } from '../contract/job.ts'
import { AnswerStream } from './answer-stream.ts'
import type { Sampling, SequenceRequest } from './engine/sequence.ts'
import type { GenerationDefaults } from './model/generation-config.ts'
import type { ModelText } from './model/model-text.ts'
import type { WrittenLog } from './token-log.ts'

export interface JobPlan {
  readonly promptTokenIds: readonly number[]
  readonly resumedTokenIds: readonly number[]
  readonly sampling: SequenceRequest['sampling']
  readonly answerTokensMax: number
  readonly stopTokenIds: readonly number[]
  /** Already behind the resumed tokens; its `end` is set when they are the whole answer. */
  readonly answer: AnswerStream
  readonly spell: ModelText['spell']
}

/**
 * @param tokensMax of prompt and answer together in this worker's engine.
 * @throws AppError `template_error`, `context_length_exceeded`, `invalid_value` or `model_not_found`; LogMismatch when the log is not this answer's.
 */
export function planJob(record: JobRecord, log: WrittenLog, text: ModelText, tokensMax: number): JobPlan {
  // Left over from another deployment on this Redis: two models must not share an answer.
  if (record.model !== text.modelId)
    throw new AppError('model_not_found', 'The model of this request is not served any more.')
  const { messages, thinking, maxTokens, stop, logitBias } = record.request
  if (logitBias.some(([tokenId]) => tokenId >= text.vocabSize)) throw biasOfNoToken(text.vocabSize)
  const promptTokenIds = text.promptTokens({ messages, think: thinking.think })
  if (promptTokenIds.length >= tokensMax) throw contextLengthExceeded(promptTokenIds.length, tokensMax)
  const answerTokensMax = Math.min(maxTokens ?? tokensMax, tokensMax - promptTokenIds.length)
  // More than the answer can have bars its end all the same.
  const minTokens = Math.min(record.request.minTokens ?? 0, answerTokensMax)
  const words = text.answer({ think: thinking.think, stop, stopsBehind: minTokens })
  const answer = new AnswerStream(words, text.stopTokenIds, answerTokensMax)
  answer.replay(log.tokenEntries)
  return {
    promptTokenIds,
    resumedTokenIds: log.tokenIds,
    sampling: {
      ...samplingOf(record.request, text.generationDefaults),
      ...changesOf({ ...record.request, minTokens }),
      seed: seedWords(record.seed),
    },
    answerTokensMax,
    stopTokenIds: text.stopTokenIds,
    answer,
    spell: (tokenId) => text.spell(tokenId),
  }
}

/** A prompt must leave room for one answer token; a longer wish than the context holds just ends at `length`. */
function contextLengthExceeded(promptTokens: number, tokensMax: number): AppError {
  const message =
    `This model's maximum context length is ${tokensMax} tokens. However, your messages resulted in ${promptTokens} ` +
    `tokens, and an answer needs at least one more. Please reduce the length of the messages.`
  return new AppError('context_length_exceeded', message, { param: 'messages' })
}

function biasOfNoToken(vocabSize: number): AppError {
  const message = `Invalid value for 'logit_bias': expected token ids of this model, 0 to ${vocabSize - 1}.`
  return new AppError('invalid_value', message, { param: 'logit_bias' })
}

function samplingOf(request: JobRequest, defaults: GenerationDefaults): GenerationDefaults {
  return {
    temperature: request.temperature ?? defaults.temperature,
    topP: request.topP ?? defaults.topP,
    topK: request.topK ?? defaults.topK,
    minP: request.minP ?? defaults.minP,
  }
}

/** What is asked beside the plain choice; absent where nothing is, since a step does without then. */
function changesOf(request: JobRequest): Pick<Sampling, 'penalties' | 'logitBias' | 'minTokens' | 'logprobCount'> {
  const { frequencyPenalty, presencePenalty, repetitionPenalty, logitBias, minTokens, topLogprobs } = request
  const penalties = {
    presence: presencePenalty ?? 0,
    frequency: frequencyPenalty ?? 0,
    repetition: repetitionPenalty ?? 1,
  }
  const isPenal = penalties.presence !== 0 || penalties.frequency !== 0 || penalties.repetition !== 1
  return {
    ...(isPenal ? { penalties } : {}),
    ...(logitBias.length === 0 ? {} : { logitBias: new Map(logitBias) }),
    ...(minTokens === null || minTokens === 0 ? {} : { minTokens }),
    ...(topLogprobs === null ? {} : { logprobCount: topLogprobs }),
  }
}

const goldenGamma = 0x9e3779b97f4a7c15n
const low32 = 0xffffffffn

/**
 * Two u32 words of a seed, low word first: its low 64 bits (two's complement) through the finaliser of SplitMix64
 * (Steele, Lea, Flood 2014). A bijection, so that different seeds stay different and neighbours land far apart.
 */
export function seedWords(seed: bigint): readonly [number, number] {
  let z = BigInt.asUintN(64, seed + goldenGamma)
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
  z ^= z >> 31n
  return [Number(z & low32), Number(z >> 32n)]
}
